"""A folder read while another process saves into it: config and weights of one save, or read once more."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from bertie.errors import CheckpointError

TRIES = 5
# seconds in which the second of two files that belong together follows the first
FRESH = 0.1
_FILES = ("config.json", "*.safetensors", "*.bin", "*.h5", "*.msgpack", "*ckpt*", "*.index.json")
_Marks = dict[Path, tuple[int, int, int, float]]
Read = TypeVar("Read")


def read_consistently(folder: Path, read: Callable[[], Read]) -> Read:
    """Return what ``read`` makes of a folder's files, none of which has changed while it did."""
    for _ in range(TRIES):
        before = _marks(folder)
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
        "load the model when it has ended"
    )


def _unchanged(folder: Path, before: _Marks) -> bool:
    """Whether the files are those of before, and no config is about to follow its weights."""
    if _half_saved(folder, before):
        time.sleep(FRESH)
    return _marks(folder) == before


def _half_saved(folder: Path, marks: _Marks) -> bool:
    """Whether weights were put there a moment ago, but no config after them: a save replaces it last."""
    changed = {path: mark[3] for path, mark in marks.items()}
    config = changed.pop(folder / "config.json", None)
    newest = max(changed.values(), default=0.0)
    return config is not None and newest > config and time.time() - newest < FRESH


def _marks(folder: Path) -> _Marks:
    """Return what tells one version of each file from another, and when it became that."""
    marks: _Marks = {}
    for path in (path for pattern in _FILES for path in folder.glob(pattern)):
        with suppress(OSError):  # gone meanwhile, or a link to nothing
            status = os.stat(path)
            marks[path] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime)
    return marks
