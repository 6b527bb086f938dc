"""Segments: filters of users that are kept under a name."""
