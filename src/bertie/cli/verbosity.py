"""How much commands write to standard error: less with --quiet, more with --verbose."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from typer import Option

from bertie.errors import InputError
from bertie.progress import lines, logger


@dataclass(frozen=True)
class Verbosity:
    """The options that every command has."""

    quiet: Annotated[
        bool, Option("--quiet", "-q", help="Besides the answer, write only errors, warnings and what was guessed.")
    ] = False
    verbose: Annotated[
        bool, Option("--verbose", "-v", help="Also say what is decided and when: device, engine, columns, parts.")
    ] = False

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Write log messages to standard error at this verbosity until the block ends."""
        if self.quiet and self.verbose:
            raise InputError("--quiet and --verbose are both given; give one of them.")
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(f"bertie: {'%(asctime)s ' * self.verbose}%(message)s", "%H:%M:%S"))
        before = logger.level, lines.level, lines.disabled
        logger.addHandler(handler)
        lines.setLevel(logging.INFO)
        lines.disabled = self.quiet
        if self.verbose:
            logger.setLevel(logging.INFO)
        started = time.monotonic()
        try:
            yield
            logger.info("finished after %.1f s", time.monotonic() - started)
        finally:
            logger.removeHandler(handler)
            level, lines_level, lines.disabled = before
            logger.setLevel(level)
            lines.setLevel(lines_level)


def say(*texts: str) -> None:
    """Write lines to standard error, unless --quiet is given."""
    if not lines.disabled:
        print("\n".join(texts), file=sys.stderr, flush=True)
