"""OpenMP: PyTorch's settings of a thread, which it keeps to itself, and what becomes of threads in a fork."""

import ctypes
import os
import sys
from functools import lru_cache, partial
from pathlib import Path

from bertie.extras import loaded

_SOFT = 1


@lru_cache(maxsize=4)
def library_with(*names: str) -> ctypes.CDLL | None:
    """Return the library that PyTorch computes with if these functions can be called through it, or None."""
    import torch

    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError:
        return None
    return library if all(hasattr(library, name) for name in names) else None


@lru_cache(maxsize=2)
def let_children_compute(kernels: ctypes.CDLL | None = None) -> None:
    """From now on, let forked children of this process compute as it does, with PyTorch and with these ``kernels``."""
    # a child would wait forever for threads that its parent has: they end before a fork, and both begin new ones
    if sys.platform == "linux":
        os.register_at_fork(before=partial(_end_threads, kernels))


def _end_threads(kernels: ctypes.CDLL | None) -> None:
    # the kernels have an OpenMP of their own, or PyTorch's where it was loaded before them
    for library in (kernels, library_with("omp_pause_resource_all") if loaded("torch") else None):
        if library is not None and hasattr(library, "omp_pause_resource_all"):
            library.omp_pause_resource_all(_SOFT)
