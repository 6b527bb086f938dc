"""Stages: those of a brand's tracks, where its users stand and stood."""
