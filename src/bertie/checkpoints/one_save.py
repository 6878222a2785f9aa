"""A folder read while another process saves into it: config and weights of one save, or read once more."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bertie.errors import CheckpointError

TRIES = 5
# seconds in which the second of two files that belong together follows the first
FRESH = 0.1
_FILES = ("config.json", "*.safetensors", "*.bin", "*.index.json")
_Marks = dict[Path, tuple[int, int, int]]
Read = TypeVar("Read")


def of_one_save(folder: Path, read: Callable[[], Read]) -> Read:
    """Return what ``read`` makes of a folder's files, none of which has changed while it did.

    Raises:
        CheckpointError: as ``read`` does; or the files changed each time.
    """
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
    changed = {path: time_of_change for path in marks if (time_of_change := _changed(path)) is not None}
    config = changed.pop(folder / "config.json", None)
    newest = max(changed.values(), default=0.0)
    return config is not None and newest > config and time.time() - newest < FRESH


def _changed(path: Path) -> float | None:
    try:
        return os.stat(path).st_ctime
    except OSError:
        return None


def _marks(folder: Path) -> _Marks:
    """Return what tells one version of each file from another."""

    def found() -> Iterator[tuple[Path, tuple[int, int, int]]]:
        for path in (path for pattern in _FILES for path in folder.glob(pattern)):
            try:
                status = os.stat(path)
            except OSError:  # gone meanwhile, or a link to nothing
                continue
            yield path, (status.st_ino, status.st_size, status.st_mtime_ns)

    return dict(found())
