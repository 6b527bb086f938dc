"""How fresh tags and stages are."""
