"""Tasks, one file each: from texts to features, and from a model's outputs to answers. See `registry`."""
