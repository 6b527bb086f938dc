"""Merges: users who have turned out to be one person."""
