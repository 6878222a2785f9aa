"""Memory: what is left of it; large pages, and the return of unchanged pages of mapped files and of freed memory.

Only Linux tells which pages of a mapping are a file's own, and can be read from it again.
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
_AT_LEAST = 32 << 20  # of addresses; memory is behind them once it is used
_CACHE_LINE = 64
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt
_PAGEMAP = "/proc/self/pagemap"
_PRESENT, _SWAPPED, _OF_A_FILE = 63, 62, 61  # bits of an entry of the page map


def drop_pages(address: int, size: int) -> None:
    """Give back memory of an unchanged mapped file where the system can; its values are read again when used."""
    if sys.platform != "linux":
        return
    # a page on the edge is its neighbour's too
    first = -(-address // mmap.PAGESIZE)
    count = (address + size) // mmap.PAGESIZE - first
    advise = _madvise()
    if count > 0 and advise is not None and _all_of_a_file(first, count):
        advise(first * mmap.PAGESIZE, count * mmap.PAGESIZE, _MADV_DONTNEED)


def own_pages(size: int) -> NDArray[np.uint8]:
    """Return ``size`` bytes that go back to the system, not to the C library, once no array needs them."""
    return np.frombuffer(_private(max(size, 1)), np.uint8)[:size]


def available_memory() -> int | None:
    """Return how many bytes can still be had without swapping, or None where the system does not say it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the C library keep, within the block, what is freed: the next array of that size needs no fresh pages.

    Every step of a training run asks for the same sizes again, but the system has large arrays back each time: fresh
    pages took a fifth of a step of 4,096 tokens in bfloat16.
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
        set_option(_MMAP_MAX, 65536)  # glibc's own
        set_option(_TRIM_THRESHOLD, 2 * _AT_LEAST)  # as high as glibc raises it by itself
        return_freed_memory()


def return_freed_memory() -> None:
    """Give the system back what was freed, between pieces that are in use too.

    Now and then within `freed_memory_kept`: packed batches differ in size, so ever more lies in gaps too small for the
    next array. A pretraining in bfloat16 came to 7 GB in half an hour, of which it used 2.7.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def keep_few_primitives() -> None:
    """Have oneDNN keep few of the programs that it compiles for shapes; only before its first product is it of use.

    Packed batches hardly ever have the same number of tokens twice, so of 1,024 programs, oneDNN's own limit, a
    pretraining in bfloat16 used a few dozen a step: it held 250 MB more after 8 batches, and gigabytes in the end.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


class LargePages:
    """Memory in pages of 2 MiB where the system has them, given out in pieces that begin with a line of the cache."""

    # weights that are read from end to end for a few rows come faster: a processor remembers where few pages lie

    def __init__(self) -> None:
        self._free = np.empty(0, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return ``size`` bytes, all of them 0."""
        if size > len(self._free):
            self._free = large_pages(max(size, _AT_LEAST))
        found, self._free = self._free[:size], self._free[size + -size % _CACHE_LINE :]
        return found


def large_pages(size: int) -> NDArray[np.uint8]:
    """Return ``size`` bytes, all of them 0, in pages of 2 MiB where the system has them."""
    memory = _private(size + LARGE_PAGE)
    numbers = np.frombuffer(memory, np.uint8)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return numbers[-numbers.ctypes.data % LARGE_PAGE :][:size]


def _private(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory has no large pages


def _all_of_a_file(first: int, count: int) -> bool:
    """Whether every page that holds something is a file's: of others, this memory may be the only place."""
    try:
        with open(_PAGEMAP, "rb", buffering=0) as file:
            file.seek(first * 8)
            entries = np.frombuffer(file.read(count * 8), dtype=np.uint64)
    except OSError:
        return False

    def bit(number: int) -> NDArray[np.bool_]:
        return ((entries >> np.uint64(number)) & np.uint64(1)).astype(bool)

    return not bool((bit(_SWAPPED) | (bit(_PRESENT) & ~bit(_OF_A_FILE))).any())


@lru_cache(maxsize=1)
def _madvise() -> Callable[[int, int, int], int] | None:
    """Return the C library's ``madvise``, or None where there is none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "madvise", None)
    if call is not None:
        call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    return call
