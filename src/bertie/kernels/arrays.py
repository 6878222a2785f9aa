"""What every kernel asks of arrays before C sees their addresses, and what its return codes mean."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError

Floats = NDArray[np.float32]
# float32, or the bits of bfloat16, which NumPy does not know, as 16-bit integers
Numbers = NDArray[Any]
_CACHE_LINE = 64
_BAD_SEQLENS, _NO_MEMORY = 1, 2  # as in gemm.h


def empty(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Return uninitialized memory that begins with a cache line: vectors that span two lines load slower."""
    memory = np.empty(np.dtype(dtype).itemsize * math.prod(shape) + _CACHE_LINE, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.ctypes.data % _CACHE_LINE)


def short_lived(size: int) -> NDArray[np.uint8]:
    """Return memory for the needs of one call, which the C library reuses without fresh pages."""
    return np.empty(size, np.uint8)


def check_float32(shape: Sequence[int], *arrays: NDArray[Any]) -> None:
    """Refuse arrays that are not float32, or have other last dimensions than ``shape``: C would not notice."""
    _check("float32", shape, arrays)


def check_numbers(shape: Sequence[int], *arrays: NDArray[Any]) -> bool:
    """Refuse arrays as `check_float32` does, unless all of them hold bfloat16; return whether they do."""
    is_half = arrays[0].dtype == np.uint16
    _check("uint16" if is_half else "float32", shape, arrays)
    return is_half


def _check(dtype: str, shape: Sequence[int], arrays: Sequence[NDArray[Any]]) -> None:
    for array in arrays:
        if array.dtype != dtype or array.shape[-len(shape) :] != tuple(shape):
            raise InputError(
                f"A kernel was given {array.dtype} {[*array.shape]}; it takes {dtype} with {[*shape]} as last "
                "dimensions."
            )


def check_cu_seqlens(cu_seqlens: NDArray[Any]) -> None:
    """Refuse what is not a list of 32-bit integers; C looks at the numbers themselves."""
    if cu_seqlens.dtype != np.int32 or cu_seqlens.ndim != 1 or not len(cu_seqlens) or not cu_seqlens.flags.c_contiguous:
        raise InputError(f"cu_seqlens is {cu_seqlens.dtype} {[*cu_seqlens.shape]}; it must be int32 [B + 1].")


def check_returned(code: int, tokens: int) -> None:
    """Raise what a kernel's return code stands for."""
    if code == _BAD_SEQLENS:
        raise InputError(
            f"The sequences must lie one after the other in {tokens} tokens, from 0 on; cu_seqlens says something else."
        )
    if code == _NO_MEMORY:
        raise MemoryError("There is not enough memory for what a kernel keeps on the way.")
