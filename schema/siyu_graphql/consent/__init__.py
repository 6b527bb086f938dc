"""Consents: what users said yes and no to."""
