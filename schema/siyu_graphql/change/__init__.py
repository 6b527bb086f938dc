"""Changes: what happens to tags, stages, actions and tasks, as it is followed."""
