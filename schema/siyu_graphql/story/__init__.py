"""Stories: why users were written to, or were not."""
