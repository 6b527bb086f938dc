"""Previews and replays: what a change of settings would do, and what it would have done."""
