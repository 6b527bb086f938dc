"""Templates: what messages and tasks say."""
