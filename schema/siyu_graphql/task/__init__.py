"""Tasks: what people are to do for users, by when."""
