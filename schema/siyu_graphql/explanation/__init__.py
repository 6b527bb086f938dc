"""Explanations: every rule tried for one user."""
