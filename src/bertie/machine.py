"""The environment of a run: versions, processor, kernels, memory, GPU."""

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

# environment variables that may affect computation; no others are shown, since they may be secrets
_VARIABLES = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")
_PACKAGES = ("numpy", "tokenizers", "safetensors", "huggingface_hub", "torch", "transformers", "pyarrow")


def describe() -> dict[str, str]:
    """Return the facts by name, as ``bertie env`` shows and a run's folder records them."""
    best = library.best()
    packages = {name: _installed(name) for name in _PACKAGES}
    return {
        "bertie": f"{bertie.__version__} in {os.path.dirname(bertie.__file__)}",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "packages": ", ".join(f"{name} {number}" if number else f"no {name}" for name, number in packages.items()),
        "processor": f"{cpu.chip()}, {os.cpu_count()} cores, of which bertie uses {available_threads()}",
        "kernels": f"{best.name}, the fastest here of {', '.join(each.name for each in library.instruction_sets())}"
        if best
        else f"none, so that NumPy multiplies: {library.why_no_kernels()}",
        "memory": _memory(),
        "gpu": _gpu(packages["torch"] is not None),
        "settings": ", ".join(f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ) or "none",
    }


def made_with() -> str:
    """Return the versions, for the report of a training run."""
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
    """Return the GPUs; PyTorch, which takes seconds to import, is only asked if there is a driver."""
    if not has_gpu_driver():
        return "none"
    if not has_torch:
        return "a driver, but no PyTorch to compute with (pip install 'bertie[torch]')"
    import torch

    if not torch.cuda.is_available():
        return f"a driver, but torch {torch.__version__} finds no GPU"
    gpus: list[Any] = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus)
    return f"{names}, CUDA {torch.version.cuda}"
