"""Which kernel was measured to be the fastest on this very machine: the small file of ``bertie bench --kernels``."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from bertie.files import make_folder, read_json, write_json
from bertie.layers.chip import chip


def fastest(dtype: torch.dtype, threads: int) -> str | None:
    """Return the name of the kernel that was the fastest with so many threads, or None if no one measured."""
    found = _read()[0].get(_machine(), {})
    return found.get(measured_as(dtype, threads)) if isinstance(found, dict) else None


def why_unread() -> str:
    """Return why nothing that may have been measured here can be read, or an empty text."""
    return _read()[1]


def measured_as(dtype: torch.dtype, threads: int) -> str:
    """Return what a measurement is kept under: ``"torch.float32, threads: 2"``."""
    return f"{dtype}, threads: {threads}"


def remember(choices: dict[str, str]) -> Path:
    """Keep the fastest kernels, by what `measured_as` returns, and return the file that holds them."""
    path = _path()
    make_folder(path.parent)
    _read.cache_clear()
    write_json(path, {**_read()[0], _machine(): choices})
    _read.cache_clear()
    return path


def _machine() -> str:
    """What a measurement holds for: another chip, PyTorch or number of processors must be measured anew."""
    return f"{chip()}, PyTorch {torch.__version__}, {os.cpu_count()} processors"


def _path() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertie" / "kernels.json"


@lru_cache(maxsize=1)
def _read() -> tuple[dict[str, Any], str]:
    """Return what was measured on all machines, and why that cannot be read: no file at all is no reason."""
    try:
        path = _path()
        return (read_json(path, "kernels"), "") if path.is_file() else ({}, "")
    except (OSError, RuntimeError) as error:  # a home that may not be entered, or none; a damaged file
        return {}, str(error).removesuffix(".")
