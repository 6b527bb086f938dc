"""The server that answers."""
