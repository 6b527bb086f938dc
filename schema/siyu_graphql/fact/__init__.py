"""Facts: what the rules look at, of one user."""
