"""Smaller and faster models out of a given one."""

from bertie.compression.quantize import quantize

__all__ = ["quantize"]
