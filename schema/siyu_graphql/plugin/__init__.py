"""Plugins: which there are, and how a brand has set them."""
