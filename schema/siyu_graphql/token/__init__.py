"""Access tokens: who asks."""
