"""Memory: how much is available, large pages, and the return of mapped files' unchanged pages and of freed memory.

Pages of mapped files are returned only on Linux, which says which of them are unchanged and can be read again.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_MADV_DONTNEED = 4
LARGE_PAGE = 2 << 20
_ARENA = 32 << 20  # bytes reserved at a time; unused pages take no memory
_CACHE_LINE = 64
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # options of mallopt
_PAGEMAP = "/proc/self/pagemap"
_PRESENT, _SWAPPED, _FILE_BACKED = 63, 62, 61  # bits of a pagemap entry


def drop_pages(address: int, size: int) -> None:
    """Release the memory of a mapped file's unchanged pages, which are read again when used; only on Linux."""
    if sys.platform != "linux":
        return
    # only whole pages: those at the edges belong to neighbours too
    first = -(-address // mmap.PAGESIZE)
    count = (address + size) // mmap.PAGESIZE - first
    advise = _madvise()
    if count > 0 and advise is not None and _all_file_backed(first, count):
        advise(first * mmap.PAGESIZE, count * mmap.PAGESIZE, _MADV_DONTNEED)


def anonymous_pages(size: int) -> NDArray[np.uint8]:
    """Return ``size`` zero bytes that return to the system, not to the C library, when the last array is deleted."""
    return np.frombuffer(_anonymous_mapping(max(size, 1)), np.uint8)[:size]


def available_memory() -> int | None:
    """Return how many bytes can be allocated without swapping, or None if the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Make the C library keep freed memory within the block, so that the next array of that size needs no fresh pages.

    Every step of a training run allocates the same sizes again, but large arrays are returned to the system each time:
    fresh pages took a fifth of a step of 4,096 tokens in bfloat16.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is None:
        yield
        return
    set_option(_MMAP_MAX, 0)
    set_option(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        set_option(_MMAP_MAX, 65536)  # glibc's default
        set_option(_TRIM_THRESHOLD, 64 << 20)  # the highest that glibc itself sets
        return_freed_memory()


def return_freed_memory() -> None:
    """Return freed memory to the system, including that between blocks in use.

    Called now and then within `keep_freed_memory`: packed batches differ in size, so ever more memory is lost to
    fragmentation. A pretraining run in bfloat16 reached 7 GB in half an hour, of which it used 2.7.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def limit_primitive_cache() -> None:
    """Limit oneDNN's cache of compiled kernels, one for each shape; call this before its first product.

    Packed batches hardly ever have the same number of tokens twice, so a pretraining run in bfloat16 compiles a few
    dozen kernels a step. With the default limit of 1,024, they took 250 MB after 8 batches, and gigabytes in the end.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


class LargePages:
    """An allocator of cache-aligned memory in pages of 2 MiB, if the system has them."""

    # weights that are read from end to end for a few rows are read faster: a TLB holds few pages

    def __init__(self) -> None:
        self._free = np.empty(0, np.uint8)

    def allocate(self, size: int) -> NDArray[np.uint8]:
        """Return ``size`` zero bytes."""
        if size > len(self._free):
            self._free = large_pages(max(size, _ARENA))
        taken, self._free = self._free[:size], self._free[size + -size % _CACHE_LINE :]
        return taken


def large_pages(size: int) -> NDArray[np.uint8]:
    """Return ``size`` zero bytes in pages of 2 MiB, if the system has them."""
    mapping = _anonymous_mapping(size + LARGE_PAGE)
    memory = np.frombuffer(mapping, np.uint8)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return memory[-memory.ctypes.data % LARGE_PAGE :][:size]


def _anonymous_mapping(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared mappings get no large pages


def _all_file_backed(first: int, count: int) -> bool:
    """Whether every page in memory or swap is an unchanged page of a file; others could not be read again."""
    try:
        with open(_PAGEMAP, "rb", buffering=0) as file:
            file.seek(first * 8)
            entries = np.frombuffer(file.read(count * 8), dtype=np.uint64)
    except OSError:
        return False

    def bit(index: int) -> NDArray[np.bool_]:
        return ((entries >> np.uint64(index)) & np.uint64(1)).astype(bool)

    return not bool((bit(_SWAPPED) | (bit(_PRESENT) & ~bit(_FILE_BACKED))).any())


@lru_cache(maxsize=1)
def _madvise() -> Callable[[int, int, int], int] | None:
    """Return the C library's ``madvise``, or None if it has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "madvise", None)
    if call is not None:
        call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return call
