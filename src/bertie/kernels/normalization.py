"""Layer normalization of rows: on its own, and fused with a sub-layer's bias, dropout and residual, with a gradient."""

from ctypes import byref, pointer
from typing import NamedTuple

import numpy as np

from bertie.kernels.arrays import Floats, Numbers, check_float32, check_numbers, check_returned, empty
from bertie.kernels.library import (
    DropoutStruct,
    InstructionSet,
    NormStruct,
    ResidualNormBackwardStruct,
    ResidualNormStruct,
)


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


class Normalized(NamedTuple):
    """The result ``y [T, D]`` of `residual_norm`; for the gradient, its input ``sum``, means and factors ``[T]``."""

    y: Floats
    sum: Floats
    means: Floats
    factors: Floats


def residual_norm(
    x: Numbers,
    bias: Floats,
    residual: Floats,
    norm: tuple[Floats, Floats, float],
    dropout: DropoutStruct | None,
    instruction_set: InstructionSet,
    *,
    threads: int,
) -> Normalized:
    """Return ``LayerNorm(residual + dropout(x + bias))``, the end of a sub-layer whose product is ``x [T, D]``.

    ``norm`` is the weight and bias ``[D]`` and epsilon; ``x`` is float32 or bfloat16.
    """
    rows, columns = x.shape
    result = Normalized(empty(rows, columns), empty(rows, columns), empty(rows), empty(rows))
    struct, _kept = _residual_norm(x, bias, residual, norm, dropout, result)
    instruction_set.residual_norm(byref(struct), threads)
    return result


def residual_norm_backward(
    dy: Floats,
    forward: Normalized,
    norm: tuple[Floats, Floats, float],
    dropout: DropoutStruct | None,
    instruction_set: InstructionSet,
    *,
    is_half: bool,
    threads: int,
) -> tuple[Numbers, Floats, Floats, Floats, Floats]:
    """Return the gradients of ``x``, ``bias``, ``residual`` and the normalization's weight and bias.

    ``is_half``: whether ``x`` was bfloat16, as its gradient then is.
    """
    rows, columns = dy.shape
    dy = np.ascontiguousarray(dy)
    dx, dsum = empty(rows, columns, dtype=np.uint16 if is_half else np.float32), empty(rows, columns)
    dweight, dnorm_bias, dbias = (empty(columns) for _ in range(3))
    check_float32((rows, columns), dy)
    # the backward pass reads no x, bias and residual: their gradients stand in for arrays of the right shapes
    forward_struct, _kept = _residual_norm(dx, dbias, dsum, norm, dropout, forward)
    addresses = (each.ctypes.data for each in (dy, dx, dsum, dweight, dnorm_bias, dbias))
    struct = ResidualNormBackwardStruct(forward_struct, *addresses)
    check_returned(instruction_set.residual_norm_backward(byref(struct), threads), rows)
    return dx, dbias, dsum, dweight, dnorm_bias


def _residual_norm(
    x: Numbers,
    bias: Floats,
    residual: Floats,
    norm: tuple[Floats, Floats, float],
    dropout: DropoutStruct | None,
    result: Normalized,
) -> tuple[ResidualNormStruct, tuple[Numbers, ...]]:
    """Return the structure, and the arrays to keep alive because it holds their addresses."""
    arrays = tuple(map(np.ascontiguousarray, (x, bias, residual, *norm[:2])))
    rows, columns = x.shape
    is_half = check_numbers((rows, columns), arrays[0])
    check_float32((rows, columns), arrays[2], result.y, result.sum)
    check_float32((columns,), arrays[1], *arrays[3:])
    check_float32((rows,), result.means, result.factors)
    struct = ResidualNormStruct(
        *(each.ctypes.data for each in (*arrays[:3], result.sum, result.y, result.means, result.factors)),
        NormStruct(arrays[3].ctypes.data, arrays[4].ctypes.data, norm[2]),
        rows,
        columns,
        is_half,
        None if dropout is None else pointer(dropout),
    )
    return struct, arrays
