"""Counter-based dropout: a hash of the seed and an element's index decides, so the backward pass stores no mask."""

from ctypes import byref

import numpy as np

from bertie.kernels.arrays import Floats, check_float32, empty
from bertie.kernels.library import DropoutStruct, InstructionSet

_BITS = 2**32


def dropout_params(seed: int, p: float) -> DropoutStruct:
    """Return the parameters that drop each element with probability ``p`` in [0, 1) and scale the others by 1/(1-p).

    A 64-bit ``seed`` decides which.
    """
    return DropoutStruct(seed, min(round(p * _BITS), _BITS - 1) - _BITS // 2, 1 / (1 - p))


def dropout(x: Floats, params: DropoutStruct, instruction_set: InstructionSet, *, threads: int) -> Floats:
    """Return the float32 array ``x`` after dropout by ``params``."""
    x = np.ascontiguousarray(x)
    check_float32(x.shape, x)
    y = empty(*x.shape)
    instruction_set.dropout(x.ctypes.data, y.ctypes.data, x.size, byref(params), threads)
    return y
