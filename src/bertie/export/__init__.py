"""A model's folder in the formats of other programs."""
