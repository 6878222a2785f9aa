"""Dropout decided by a hash of a seed and of where a number stands: the backward pass repeats it, nothing is kept."""

from ctypes import byref

import numpy as np

from bertie.kernels.arrays import Floats, check_float32, empty
from bertie.kernels.library import DropoutStruct, InstructionSet

_BITS = 2**32


def drop_params(seed: int, p: float) -> DropoutStruct:
    """Return which numbers a 64-bit ``seed`` drops, each with probability ``p`` in [0, 1); the others grow."""
    return DropoutStruct(seed, min(round(p * _BITS), _BITS - 1) - _BITS // 2, 1 / (1 - p))


def dropout(x: Floats, params: DropoutStruct, instruction_set: InstructionSet, *, threads: int) -> Floats:
    """Return ``x``, float32, with the numbers dropped that ``params`` drop."""
    x = np.ascontiguousarray(x)
    check_float32(x.shape, x)
    y = empty(*x.shape)
    instruction_set.dropout(x.ctypes.data, y.ctypes.data, x.size, byref(params), threads)
    return y
