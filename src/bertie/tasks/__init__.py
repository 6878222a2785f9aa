"""Tasks: one file each, from texts to features and from what the model computed to answers. See `registry`."""
