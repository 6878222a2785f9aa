"""The errors bertie raises. Each message is one sentence: what, where, got, allowed, and what to do."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Spelling = Callable[[str, Any], str]


class BertieError(Exception):
    """The base of all errors that bertie explains to its user; the command line prints them without a traceback."""


class ConfigError(BertieError, ValueError):
    """A config field, or a combination of them, that no BERT model can have."""


class CheckpointError(BertieError, OSError):
    """A model folder or one of its files is missing, damaged, unsafe, or does not fit the model."""


class MissingVocabularyError(CheckpointError, ValueError):
    """There is no vocabulary to build a tokenizer from."""


class ShapeError(CheckpointError, RuntimeError):
    """Stored tensors differ in shape from the model's; also a RuntimeError, which programs expect from PyTorch."""


class InputError(BertieError, ValueError):
    """A value passed to a call (text, ids, mask, labels, an argument) is out of range."""


class InputTypeError(BertieError, TypeError):
    """A value passed to a call has the wrong type, or an argument does not exist."""


class Stopped(KeyboardInterrupt):
    """Work was stopped by a signal; the message tells the user what was kept.

    It is a KeyboardInterrupt, as Ctrl-C raises elsewhere, so that ``except Exception`` does not catch it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number  # the shell's convention: 130 after SIGINT, 143 after SIGTERM


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the allowed name closest to ``name``, or an empty string."""
    found = closest(name, allowed)
    return "" if found is None else f" Did you mean {found!r}?"


def closest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name closest to ``name``; None if none is close."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(allowed), n=1)), None)


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return ``"1 step"``, ``"2 steps"`` or ``"3,000 classes"``; ``several`` is the plural if it is irregular."""
    return f"{count:,} {plural(count, one, several or one + 's')}"


def plural(count: int, one: str, several: str) -> str:
    """Return the form that agrees with a count: ``plural(count, "is", "are")``."""
    return one if count == 1 else several


def in_python(name: str, value: Any = ...) -> str:
    """Return an option as it is written in Python: ``windows=True``, or its name alone."""
    return name if value is ... else f"{name}={value!r}"


_spelling: Spelling = in_python


def spelled(name: str, value: Any = ...) -> str:
    """Return an option, with a value if one is given, as the user types it: ``windows=True`` or ``--windows``."""
    return _spelling(name, value)


@contextmanager
def spelling(way: Spelling) -> Iterator[None]:
    """Change how messages spell options while the block runs, as the command line does."""
    global _spelling
    before, _spelling = _spelling, way
    try:
        yield
    finally:
        _spelling = before
