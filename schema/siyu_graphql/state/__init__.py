"""Fitted states: what rules learned from all users, over time."""
