"""The command line: ``bertie VERB``. Each command is one typed function, and torch is imported only when one runs."""

import errno
import os
import sys

from bertie.cli.app import app
from bertie.cli.writing import printable
from bertie.errors import BertieError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; a mistake of the user's is one sentence on standard error and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # JSON lines are UTF-8 whatever the locale says
        getattr(stream, "reconfigure", lambda **_: None)(encoding="utf-8", errors="backslashreplace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BertieError as error:
        print(f"bertie: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _leave_unwritten(error)


def _leave_unwritten(error: OSError) -> None:
    """Leave after a failure to read or write; one who reads no further (``| head``) needs no message."""
    # what is still buffered would fail once more when Python ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        sys.exit(1)
    print(f"bertie: {printable(str(error))}", file=sys.stderr)
    sys.exit(2)
