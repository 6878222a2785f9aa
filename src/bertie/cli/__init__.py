"""The command line: ``bertie VERB``. Each command is one typed function, and torch is imported only when one runs."""

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
        app()
    except BertieError as error:
        print(f"bertie: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
