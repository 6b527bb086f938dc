"""Users: the people of a brand."""
