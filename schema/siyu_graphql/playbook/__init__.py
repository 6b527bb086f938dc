"""Playbooks: what is done for users, step by step, and who is under way."""
