"""Runs: long work in the background."""
