"""Changes: what happens to tags, stages and actions, as it is followed."""
