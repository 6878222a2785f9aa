"""Reading a folder that another process may be saving to: config and weights of one save, or a retry."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bertie.errors import CheckpointError

TRIES = 5
# seconds within which a save replaces the second of two files after the first
FRESH = 0.1
_FILES = ("config.json", "*.safetensors", "*.bin", "*.h5", "*.msgpack", "*ckpt*", "*.index.json")
_Versions = dict[Path, tuple[int, int, int, float]]
Read = TypeVar("Read")


def read_consistently(folder: Path, read: Callable[[], Read]) -> Read:
    """Return the result of ``read``, repeated until no file of the folder changed while it ran."""
    for _ in range(TRIES):
        before = _versions(folder)
        try:
            found = read()
        except CheckpointError:
            if _unchanged(folder, before):
                raise
        else:
            if _unchanged(folder, before):
                return found
    raise CheckpointError(
        f"the files in {str(folder)!r} changed each of the {TRIES} times they were read: another process saves there; "
        "load the model when it has finished"
    )


def _unchanged(folder: Path, before: _Versions) -> bool:
    """Whether the files have not changed and no save is between its weights and its config."""
    if _half_saved(folder, before):
        time.sleep(FRESH)
    return _versions(folder) == before


def _half_saved(folder: Path, versions: _Versions) -> bool:
    """Whether weights were replaced a moment ago but not yet the config, which a save replaces last."""
    changed = {path: version[3] for path, version in versions.items()}
    config = changed.pop(folder / "config.json", None)
    newest = max(changed.values(), default=0.0)
    return config is not None and newest > config and time.time() - newest < FRESH


def _versions(folder: Path) -> _Versions:
    """Return what identifies the version of each file, with its ctime."""
    versions: _Versions = {}
    for path in (path for pattern in _FILES for path in folder.glob(pattern)):
        with suppress(OSError):  # removed meanwhile, or a broken link
            status = os.stat(path)
            versions[path] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime)
    return versions
