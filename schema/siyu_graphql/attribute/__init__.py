"""Attributes: what plugins look at in the profiles of users."""
