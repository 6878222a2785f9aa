"""Decoding: search loops over any model that scores the next token one step at a time."""
