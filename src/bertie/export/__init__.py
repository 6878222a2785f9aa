"""Exporting a model to the formats of other programs."""
