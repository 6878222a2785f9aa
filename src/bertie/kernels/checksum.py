"""Checksums of weights in memory, as fast as it can be read, by the kernel in checksum.c."""

import ctypes
import zlib
from collections.abc import Sequence
from ctypes import POINTER, c_int, c_long, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from bertie.kernels import library


def checksums(addresses: Sequence[int], sizes: Sequence[int], threads: int) -> tuple[int, ...]:
    """Return the checksum of the ``sizes`` bytes at each of ``addresses``; without the kernel, their CRC-32."""
    kernel, count = _kernel(), len(addresses)
    if kernel is None:
        return tuple(
            zlib.crc32((ctypes.c_char * size).from_address(address))
            for address, size in zip(addresses, sizes, strict=True)
        )
    sums = (c_uint64 * count)()
    kernel((c_void_p * count)(*addresses), (c_long * count)(*sizes), count, sums, threads)
    return tuple(sums)


@lru_cache(maxsize=1)
def _kernel() -> Any:
    """Return the kernel, or None if it was not compiled."""
    kernel = getattr(library.loaded(), "bertie_checksums", None)
    if kernel is not None:
        kernel.argtypes = [POINTER(c_void_p), POINTER(c_long), c_long, POINTER(c_uint64), c_int]
        kernel.restype = None
    return kernel
