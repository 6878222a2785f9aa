"""Layer normalization of rows."""

from ctypes import byref

import numpy as np

from bertie.kernels.arrays import Floats, check_float32, empty
from bertie.kernels.library import InstructionSet, NormStruct


def layer_norm(
    x: Floats, weight: Floats, bias: Floats, eps: float, instruction_set: InstructionSet, *, threads: int
) -> Floats:
    """Return ``(x - mean) / sqrt(variance + eps) * weight + bias`` of each row of ``x [T, D]``."""
    weight, bias = np.ascontiguousarray(weight), np.ascontiguousarray(bias)
    rows, columns = x.shape
    check_float32((columns,), x, weight, bias)
    y = empty(rows, columns)
    y[...] = x
    norm = NormStruct(weight.ctypes.data, bias.ctypes.data, eps)
    instruction_set.layer_norm(y.ctypes.data, byref(norm), rows, columns, threads)
    return y
