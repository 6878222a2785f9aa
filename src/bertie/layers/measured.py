"""Which kernel was measured to be the fastest on this very machine: the small file of ``bertie bench --kernels``."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from bertie.errors import CheckpointError
from bertie.files import read_json, write_json
from bertie.layers.chip import chip
from bertie.report import logger


def fastest(dtype: torch.dtype, threads: int) -> str | None:
    """Return the name of the kernel that was the fastest with so many threads, or None if no one measured."""
    return _measured().get(measured_as(dtype, threads))


def measured_as(dtype: torch.dtype, threads: int) -> str:
    """Return what a measurement is kept under: ``"torch.float32, threads: 2"``."""
    return f"{dtype}, threads: {threads}"


def remember(choices: dict[str, str]) -> Path:
    """Keep the fastest kernels, by what `measured_as` returns, and return the file that holds them."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**_read(path), _machine(): choices})
    _measured.cache_clear()
    return path


@lru_cache(maxsize=1)
def _measured() -> dict[str, str]:
    found = _read(_path()).get(_machine(), {})
    return found if isinstance(found, dict) else {}


def _machine() -> str:
    """What a measurement holds for: another chip, PyTorch or number of processors must be measured anew."""
    return f"{chip()}, PyTorch {torch.__version__}, {os.cpu_count()} processors"


def _path() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertie" / "kernels.json"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return read_json(path, "kernels")
    except CheckpointError as error:
        logger.warning("%s. It is not used; `bertie bench --kernels` writes it anew.", error)
        return {}
