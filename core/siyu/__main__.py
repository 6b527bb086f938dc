"""``python -m siyu``."""

from siyu.cli import app

app()
