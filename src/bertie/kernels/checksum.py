"""Checksums of weights where they lie, as fast as memory is read, by the kernel of checksum.c."""

import ctypes
import zlib
from collections.abc import Sequence
from ctypes import POINTER, c_int, c_long, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from bertie.kernels import library


def checksums(addresses: Sequence[int], sizes: Sequence[int], threads: int) -> tuple[int, ...]:
    """Return the checksum of the ``sizes`` bytes at each of ``addresses``; without the kernel, their CRC-32."""
    kernel, count = _function(), len(addresses)
    if kernel is None:
        return tuple(
            zlib.crc32((ctypes.c_char * size).from_address(address))
            for address, size in zip(addresses, sizes, strict=True)
        )
    found = (c_uint64 * count)()
    kernel((c_void_p * count)(*addresses), (c_long * count)(*sizes), count, found, threads)
    return tuple(found)


@lru_cache(maxsize=1)
def _function() -> Any:
    """Return the kernel, or None where it was not compiled."""
    found = getattr(library.loaded(), "bertie_checksums", None)
    if found is not None:
        found.argtypes = [POINTER(c_void_p), POINTER(c_long), c_long, POINTER(c_uint64), c_int]
        found.restype = None
    return found
