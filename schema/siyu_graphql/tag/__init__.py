"""Tags: those a brand has, those its users have and had."""
