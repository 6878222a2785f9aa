"""What PyTorch keeps to itself: OpenMP's and MKL's settings of a thread, and what becomes of threads in a fork."""

import ctypes
import os
import sys
from functools import lru_cache
from pathlib import Path

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


@lru_cache(maxsize=1)
def let_children_compute() -> None:
    """From now on, let forked children of this process compute as it does.

    GNU's OpenMP would have a child wait forever for threads that its parent has and it has not. So they end before a
    fork, and both begin new ones when they need them.
    """
    library = library_with("omp_pause_resource_all") if sys.platform == "linux" else None
    if library is not None:
        os.register_at_fork(before=lambda: library.omp_pause_resource_all(_SOFT))
