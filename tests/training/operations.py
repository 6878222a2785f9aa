"""Intercepts a program's operations on the files of a folder, so that a test can stop it at each of them."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# audit hooks cannot be removed: there is one, and the function that it calls is replaced
_watching: list[tuple[str, Callable[[], None]]] = []
_hooked = False


@contextmanager
def each_operation(folder: Path, before: Callable[[], None]) -> Iterator[None]:
    """Call ``before`` ahead of whatever changes ``folder`` from within the block: nothing of it has happened yet."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _watching.append((str(folder), before))
    try:
        yield
    finally:
        _watching.clear()


def _hook(event: str, given: tuple[Any, ...]) -> None:
    if not _watching:
        return
    folder, before = _watching[0]
    if event == "open":
        path, _, flags = given
        changes = isinstance(path, str) and path.startswith(folder) and bool(flags & _WRITING)
    else:
        # shutil.rmtree names files by their folder's descriptor
        changes = event in _CHANGES and (str(given[0]).startswith(folder) or not os.path.isabs(str(given[0])))
    if changes:
        _watching.clear()
        before()
        _watching.append((folder, before))
