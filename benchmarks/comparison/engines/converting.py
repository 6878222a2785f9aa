"""Converted models: each written once, into a folder that exists only when it is whole."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def once(folder: Path, write: Callable[[Path], None]) -> None:
    """Call ``write`` with an empty folder that becomes ``folder``, unless that is there already."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
