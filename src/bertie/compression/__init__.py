"""Smaller and faster models out of a given one, or one out of several."""

from bertie.compression.averaging import average
from bertie.compression.quantize import quantize

__all__ = ["average", "quantize"]
