"""Brands: the door to everything else."""
