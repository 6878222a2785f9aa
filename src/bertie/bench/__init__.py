"""The speed of your own model in each way to run it here: `ways` lists them, `compare` times them in turn."""
