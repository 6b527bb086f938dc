"""Events: what happened, as it was reported; and those that were refused."""
