"""One process at a time in a folder: a file lock that is released when its process ends, however it ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bertie.errors import InputError
from bertie.files import explained, make_folder
from bertie.progress import say_once

LOCK = ".lock"


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Lock ``folder``, created if missing, for this process while the block runs."""
    is_new = not folder.exists()
    path = make_folder(folder) / LOCK
    with explained(path):
        descriptor = _locked(path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there, even if only another process has it open
            os.close(descriptor)
            with suppress(PermissionError):
                path.unlink(missing_ok=True)
        else:
            path.unlink(missing_ok=True)
            os.close(descriptor)
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _locked(path: Path) -> int:
    """Return the descriptor of the lock file; the lock is held until it is closed or the process ends."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _take(descriptor):
                raise InputError(
                    f"Another process is at work in {str(path.parent)!r}; wait for it to end, or give another folder."
                )
        except BaseException:
            os.close(descriptor)
            raise
        # the previous holder may have removed the file after it was opened here, but not on Windows
        if sys.platform == "win32":
            return descriptor
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    """Lock an open file; False if another process has it; where the file system has no locks, warn and return True."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        say_once(f"Other processes are not kept out of the folder of results: its disk has no locks ({error.strerror})")
    return True
