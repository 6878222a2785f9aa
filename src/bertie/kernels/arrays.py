"""Checks of arrays before their addresses go to C, aligned allocation, and the kernels' return codes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError

Floats = NDArray[np.float32]
# float32, or bfloat16 as uint16 bits, since NumPy has no such dtype
Numbers = NDArray[Any]
_CACHE_LINE = 64
_BAD_SEQLENS, _NO_MEMORY = 1, 2  # as in gemm.h


def empty(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Return an uninitialized array aligned to a cache line: vectors that span two lines load more slowly."""
    memory = np.empty(np.dtype(dtype).itemsize * math.prod(shape) + _CACHE_LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.ctypes.data % _CACHE_LINE)


def temporary_memory(size: int) -> NDArray[np.uint8]:
    """Return memory for a single call; unlike fresh pages, the allocator may reuse it at once."""
    return np.empty(size, np.uint8)


def check_float32(shape: Sequence[int], *arrays: NDArray[Any]) -> None:
    """Refuse arrays that are not float32 or whose last dimensions are not ``shape``: C could not tell."""
    _check("float32", shape, arrays)


def check_numbers(shape: Sequence[int], *arrays: NDArray[Any]) -> bool:
    """Like `check_float32`, but also accept arrays that are all bfloat16; return whether they are."""
    is_half = arrays[0].dtype == np.uint16
    _check("uint16" if is_half else "float32", shape, arrays)
    return is_half


def _check(dtype: str, shape: Sequence[int], arrays: Sequence[NDArray[Any]]) -> None:
    for array in arrays:
        if array.dtype != dtype or array.shape[-len(shape) :] != tuple(shape):
            raise InputError(
                f"A kernel was given {array.dtype} {[*array.shape]}; it takes {dtype} whose last dimensions are "
                f"{[*shape]}."
            )


def check_cu_seqlens(cu_seqlens: NDArray[Any]) -> None:
    """Refuse anything but a contiguous vector of 32-bit integers; C checks the values."""
    if cu_seqlens.dtype != np.int32 or cu_seqlens.ndim != 1 or not len(cu_seqlens) or not cu_seqlens.flags.c_contiguous:
        raise InputError(f"cu_seqlens is {cu_seqlens.dtype} {[*cu_seqlens.shape]}; it must be int32 [B + 1].")


def check_returned(code: int, tokens: int) -> None:
    """Raise the error that a kernel's return code means, if any."""
    if code == _BAD_SEQLENS:
        raise InputError(f"cu_seqlens must rise from 0 to {tokens}, the number of tokens, but does not.")
    if code == _NO_MEMORY:
        raise MemoryError("There is not enough memory for a kernel's temporary arrays.")
