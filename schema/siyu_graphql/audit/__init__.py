"""The audit log: who did or read what."""
