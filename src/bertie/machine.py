"""What is computed with: versions, processor, kernels, memory, GPU."""

import os
import platform
import sys
from importlib import metadata
from typing import Any

import bertie
from bertie.kernels import cpu, library
from bertie.memory import available_memory
from bertie.pipelines.engines import has_gpu_driver
from bertie.threads import available_threads

# variables of the environment that may change what is computed; others, such as the keys of a server, are secrets
_VARIABLES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")
_PACKAGES = ("numpy", "tokenizers", "safetensors", "huggingface_hub", "torch", "transformers", "pyarrow")


def describe() -> dict[str, str]:
    """Return each fact by its name, as ``bertie env`` shows it and a run keeps it."""
    best = library.best()
    packages = {name: _installed(name) for name in _PACKAGES}
    return {
        "bertie": f"{bertie.__version__} in {os.path.dirname(bertie.__file__)}",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "packages": ", ".join(f"{name} {number}" if number else f"no {name}" for name, number in packages.items()),
        "processor": f"{cpu.chip()}, {os.cpu_count()} cores, of which bertie takes {available_threads()}",
        "kernels": f"{best.name} of {', '.join(one.name for one in library.instruction_sets())}, the fastest here"
        if best
        else f"none, and NumPy multiplies: {library.why_none()}",
        "memory": _memory(),
        "gpu": _gpu(packages["torch"] is not None),
        "settings": ", ".join(f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ) or "none",
    }


def made_with() -> str:
    """Return the versions that a report of a training names."""
    return f"bertie {bertie.__version__}, PyTorch {_installed('torch')}, Python {platform.python_version()}"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        return "unknown"
    total = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    available = available_memory()
    return total if available is None else f"{total}, of which {available / 2**30:.1f} available"


def _gpu(has_torch: bool) -> str:
    """Return the GPUs; PyTorch, which takes seconds to import, is asked only where there may be one."""
    if not has_gpu_driver():
        return "none"
    if not has_torch:
        return "a driver is there, but not PyTorch, which computes on it (pip install 'bertie[torch]')"
    import torch

    if not torch.cuda.is_available():
        return f"a driver is there, but torch {torch.__version__} finds no GPU"
    found: list[Any] = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    return (
        ", ".join(f"{one.name} ({one.total_memory / 2**30:.0f} GiB)" for one in found) + f", CUDA {torch.version.cuda}"
    )
