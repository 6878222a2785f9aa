"""The command line: ``bertie COMMAND``. Each command is one typed function, imported only when it runs."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from bertie.cli.app import app
from bertie.errors import BertieError, Stopped
from bertie.files import why_refused
from bertie.messages import printable

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; a user error is one sentence on standard error and exit code 2."""
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # JSON lines are UTF-8 whatever the locale
        getattr(stream, "reconfigure", lambda **_: None)(encoding="utf-8", errors="backslashreplace")
    try:
        try:
            with _stopped_by_signals():
                app()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BertieError as error:
        print(f"bertie: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stopped:
        sys.exit(getattr(stopped, "exit_code", 130))
    except OSError as error:
        _exit_after_io_error(error)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP, unless ignored (nohup), end the block as Ctrl-C does; a second one ends it at once."""
    handled = []
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        in_main = threading.current_thread() is threading.main_thread()
        if number is not None and in_main and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(f"Stopped by {signal.Signals(number).name} before the end.", number)


def _fill_closed_streams() -> None:
    """Open the null device in place of closed standard streams, whose descriptors a later file would get."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _exit_after_io_error(error: OSError) -> None:
    """Exit after a failure to read or write; a closed pipe (``| head``) needs no message."""
    # flushing the buffered rest would fail again when Python exits
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        sys.exit(1)
    what = repr(error.filename) if error.filename else "standard output (--output writes all answers or none)"
    print(f"bertie: cannot write {printable(what)}: {printable(why_refused(error))}", file=sys.stderr)
    sys.exit(2)
