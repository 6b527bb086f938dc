"""Benefits: what there is to give, and to whom it was given."""
