"""Attention within packed sequences, in one call for all sequences and heads, and its gradient."""

from ctypes import byref, pointer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels.arrays import (
    Floats,
    Numbers,
    check_cu_seqlens,
    check_float32,
    check_numbers,
    check_returned,
    empty,
)
from bertie.kernels.library import AttentionBackwardStruct, AttentionStruct, DropoutStruct, InstructionSet

CuSeqlens = NDArray[np.int32]


def attention(
    q: Numbers,
    k: Numbers,
    v: Numbers,
    cu_seqlens_q: CuSeqlens,
    cu_seqlens_k: CuSeqlens,
    instruction_set: InstructionSet,
    *,
    threads: int,
    dropout: DropoutStruct | None = None,
    lse: Floats | None = None,
    approximate: bool = False,
) -> Numbers:
    """Return the context ``[T_q, H, K]`` of ``q [T_q, H, K]`` over ``k`` and ``v`` ``[T_k, H, K]``, all of one dtype.

    The stride between tokens is free; arrays whose heads are not contiguous are copied. ``lse [T_q, H]`` receives the
    log-sum-exps, which the gradient needs. ``approximate`` allows bfloat16 products for float32: they are used for long
    sequences if the processor has AMX and K fills whole tiles.
    """
    qkv = contiguous_heads(q, k, v)
    _check(*qkv, cu_seqlens_q, cu_seqlens_k)
    y = empty(*q.shape, dtype=q.dtype)
    struct = _struct(qkv, y, cu_seqlens_q, cu_seqlens_k, lse, dropout, approximate)
    check_returned(instruction_set.attention(byref(struct), threads), len(q))
    return y


def attention_backward(
    dy: Numbers,
    q: Numbers,
    k: Numbers,
    v: Numbers,
    y: Numbers,
    lse: Floats,
    cu_seqlens_q: CuSeqlens,
    cu_seqlens_k: CuSeqlens,
    instruction_set: InstructionSet,
    *,
    threads: int,
    dropout: DropoutStruct | None = None,
) -> tuple[Numbers, Numbers, Numbers]:
    """Return the gradients of ``q``, ``k`` and ``v``, given that of ``y``, which `attention` returned."""
    qkv = contiguous_heads(q, k, v)
    _check(*qkv, cu_seqlens_q, cu_seqlens_k)
    dy, y, lse = map(np.ascontiguousarray, (dy, y, lse))
    check_numbers(q.shape, q, dy, y)
    check_float32(q.shape[:2], lse)
    dq, dk, dv = (empty(*each.shape, dtype=q.dtype) for each in (q, k, v))
    forward = _struct(qkv, y, cu_seqlens_q, cu_seqlens_k, lse, dropout)
    struct = AttentionBackwardStruct(forward, dy.ctypes.data, *(each.ctypes.data for each in (dq, dk, dv)))
    check_returned(instruction_set.attention_backward(byref(struct), threads), len(q))
    return dq, dk, dv


def contiguous_heads(q: Numbers, k: Numbers, v: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return arrays ``[T, H, K]`` in which each token's heads are contiguous, copied only if they were not."""
    strides = (q.shape[-1] * q.itemsize, q.itemsize)
    q, k, v = (each if each.strides[1:] == strides else np.ascontiguousarray(each) for each in (q, k, v))
    return q, k, v


def _struct(
    qkv: tuple[Numbers, Numbers, Numbers],
    y: Numbers,
    cu_seqlens_q: CuSeqlens,
    cu_seqlens_k: CuSeqlens,
    lse: Floats | None,
    dropout: DropoutStruct | None,
    approximate: bool = False,
) -> AttentionStruct:
    return AttentionStruct(
        *(each.ctypes.data for each in (*qkv, y, cu_seqlens_q, cu_seqlens_k)),
        *(each.strides[0] // each.itemsize for each in qkv),
        *map(len, qkv[:2]),
        len(cu_seqlens_q) - 1,
        *y.shape[1:],
        None if lse is None else lse.ctypes.data,
        None if dropout is None else pointer(dropout),
        y.dtype == np.uint16,
        approximate,
    )


def _check(q: Numbers, k: Numbers, v: Numbers, cu_seqlens_q: NDArray[Any], cu_seqlens_k: NDArray[Any]) -> None:
    check_numbers(q.shape[2:], q, k, v)
    if k.shape != v.shape or q.shape[1] != k.shape[1]:
        raise InputError(f"The shapes of queries {[*q.shape]}, keys {[*k.shape]} and values {[*v.shape]} do not fit.")
    check_cu_seqlens(cu_seqlens_q)
    check_cu_seqlens(cu_seqlens_k)
    if len(cu_seqlens_q) != len(cu_seqlens_k):
        raise InputError(
            f"The queries are of {len(cu_seqlens_q) - 1} sequences, but the keys of {len(cu_seqlens_k) - 1}."
        )
