"""Layer normalization of rows, by itself and at the end of a sub-layer, there with its gradient."""

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
    """What `residual_norm` made: ``y [T, D]``, and for the gradient its input, means and factors ``[T]``."""

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
    """Return ``LayerNorm(residual + dropout(x + bias))``: the end of a sub-layer whose product gave ``x [T, D]``.

    ``norm`` is weight and bias ``[D]`` and epsilon; ``x`` is float32 or bfloat16.
    """
    rows, columns = x.shape
    made = Normalized(empty(rows, columns), empty(rows, columns), empty(rows), empty(rows))
    struct, _kept = _residual_norm(x, bias, residual, norm, dropout, made)
    instruction_set.residual_norm(byref(struct), threads)
    return made


def residual_norm_backward(
    dy: Floats,
    made: Normalized,
    norm: tuple[Floats, Floats, float],
    dropout: DropoutStruct | None,
    instruction_set: InstructionSet,
    *,
    is_half: bool,
    threads: int,
) -> tuple[Numbers, Floats, Floats, Floats, Floats]:
    """Return the gradients of ``x``, ``bias``, ``residual`` and of the normalization's weight and bias.

    ``is_half``: whether ``x`` was bfloat16; its gradient is then, too.
    """
    rows, columns = dy.shape
    dy = np.ascontiguousarray(dy)
    dx, dsum = empty(rows, columns, dtype=np.uint16 if is_half else np.float32), empty(rows, columns)
    dweight, dnorm_bias, dbias = (empty(columns) for _ in range(3))
    check_float32((rows, columns), dy)
    forward, _kept = _residual_norm(dx, dbias, dsum, norm, dropout, made)
    addresses = (each.ctypes.data for each in (dy, dx, dsum, dweight, dnorm_bias, dbias))
    struct = ResidualNormBackwardStruct(forward, *addresses)
    check_returned(instruction_set.residual_norm_backward(byref(struct), threads), rows)
    return dx, dbias, dsum, dweight, dnorm_bias


def _residual_norm(
    x: Numbers,
    bias: Floats,
    residual: Floats,
    norm: tuple[Floats, Floats, float],
    dropout: DropoutStruct | None,
    made: Normalized,
) -> tuple[ResidualNormStruct, tuple[Numbers, ...]]:
    """Return the structure, and the arrays whose addresses it holds."""
    arrays = tuple(map(np.ascontiguousarray, (x, bias, residual, *norm[:2])))
    rows, columns = x.shape
    is_half = check_numbers((rows, columns), arrays[0])
    check_float32((rows, columns), arrays[2], made.y, made.sum)
    check_float32((columns,), arrays[1], *arrays[3:])
    check_float32((rows,), made.means, made.factors)
    struct = ResidualNormStruct(
        *(each.ctypes.data for each in (*arrays[:3], made.sum, made.y, made.means, made.factors)),
        NormStruct(arrays[3].ctypes.data, arrays[4].ctypes.data, norm[2]),
        rows,
        columns,
        is_half,
        None if dropout is None else pointer(dropout),
    )
    return struct, arrays
