"""Migrations, applied in order under an advisory lock."""
