"""``bertie env`` and ``bertie version``: what a report of a mistake has to say of the machine and what is installed."""

import json
import os
import platform
import sys
from importlib import metadata
from typing import Annotated, Any

import typer

import bertie
from bertie.messages import printable

_PACKAGES = ("numpy", "tokenizers", "safetensors", "huggingface_hub", "torch", "transformers", "pyarrow")


def version() -> None:
    """Show the version."""
    print(f"bertie {bertie.__version__}")


def env(as_json: Annotated[bool, typer.Option("--json", help="Write one JSON line instead of text.")] = False) -> None:
    """Show versions, processor, kernels, memory and GPU: copy all of it into a report of a mistake."""
    found = describe()
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name, value in found.items():
        print(printable(f"{name:<12} {value}"))


def describe() -> dict[str, str]:
    """Return each fact by its name."""
    from bertie.kernels import cpu, library
    from bertie.threads import available_threads

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
        "settings": ", ".join(f"{name}={os.environ[name]}" for name in sorted(os.environ) if _matters(name)) or "none",
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    names = ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES")
    if not set(names) <= set(getattr(os, "sysconf_names", ())):
        return "unknown"
    total, free = (os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") / 2**30 for name in names)
    return f"{total:.1f} GiB, of which {free:.1f} free"


def _gpu(has_torch: bool) -> str:
    """Return the GPUs; PyTorch, which takes seconds to import, is asked only where there may be one."""
    from bertie.pipelines.engines import has_gpu_driver

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


def _matters(name: str) -> bool:
    """Whether a variable of the environment may change what bertie does; none of these is a secret."""
    return name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "HF_HOME") or name.startswith(
        "BERTIE_"
    )
