"""Decoding: loops that choose the next words of texts, around any model that scores them one step at a time."""
