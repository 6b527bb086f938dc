"""Actions: what is done for users."""
