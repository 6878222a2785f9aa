"""OpenMP: access to PyTorch's per-thread settings, which it does not expose, and safety of threads across forks."""

import ctypes
import os
import sys
from functools import lru_cache, partial
from pathlib import Path

from bertie.extras import loaded

_OMP_PAUSE_SOFT = 1


@lru_cache(maxsize=4)
def library_with(*names: str) -> ctypes.CDLL | None:
    """Return PyTorch's CPU library, or None if it does not provide all these functions."""
    import torch

    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    except OSError:
        return None
    return library if all(hasattr(library, name) for name in names) else None


@lru_cache(maxsize=2)
def make_fork_safe(kernels: ctypes.CDLL | None = None) -> None:
    """From now on, let forked children of this process compute with PyTorch and with these ``kernels``."""
    # a child would wait forever for its parent's threads: they end before a fork, and both processes start new ones
    if sys.platform == "linux":
        os.register_at_fork(before=partial(_end_threads, kernels))


def _end_threads(kernels: ctypes.CDLL | None) -> None:
    # the kernels use PyTorch's OpenMP if that was loaded before them, else another
    for library in (kernels, library_with("omp_pause_resource_all") if loaded("torch") else None):
        if library is not None and hasattr(library, "omp_pause_resource_all"):
            library.omp_pause_resource_all(_OMP_PAUSE_SOFT)
