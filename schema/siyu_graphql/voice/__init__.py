"""Voices: how brands speak, and as whom."""
