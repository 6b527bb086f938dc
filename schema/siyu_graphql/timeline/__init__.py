"""Timelines: all that happened to a user, was decided and was done."""
