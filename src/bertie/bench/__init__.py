"""How fast a model of one's own is, in each way to run it here: `ways` lists them, `compare` times them in turn."""
