"""Smaller and faster models from a given one, and one model from several."""

from bertie.extras import need_torch

need_torch(__name__)

from bertie.compression.averaging import average
from bertie.compression.distillation import distil
from bertie.compression.pruning import prune
from bertie.compression.quantizing import quantize
from bertie.compression.static import distil_static
from bertie.models.dequantizing import dequantize

__all__ = ["average", "dequantize", "distil", "distil_static", "prune", "quantize"]
