"""The kinds of error bertie raises. Each message is one sentence: what, where, got, allowed, and what to do."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Spelling = Callable[[str, Any], str]


class BertieError(Exception):
    """Any mistake that bertie explains to its user; the command line prints it without a traceback."""


class ConfigError(BertieError, ValueError):
    """A config field, or a combination of them, that no BERT model can have."""


class CheckpointError(BertieError, OSError):
    """A model folder or one of its files is missing, damaged, unsafe, or does not fit the model."""


class MissingVocabularyError(CheckpointError, ValueError):
    """There is no vocabulary to make a tokenizer of."""


class ShapeError(CheckpointError, RuntimeError):
    """Stored tensors have other shapes than the model's; programs expect PyTorch's kind of error for it."""


class InputError(BertieError, ValueError):
    """A value given in a call (text, ids, mask, labels, an argument) is out of its range."""


class InputTypeError(BertieError, TypeError):
    """A value given in a call has the wrong type, or an argument that does not exist was named."""


class Stopped(KeyboardInterrupt):
    """Work was stopped by a signal; ``str()`` is a sentence for the user that says what was kept.

    It is a KeyboardInterrupt, as Ctrl-C gives everywhere else, and no mistake that ``except Exception`` should catch.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number  # what a program then ends with: 130 after SIGINT, 143 after SIGTERM


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the allowed name closest to ``name``, or an empty string."""
    found = closest(name, allowed)
    return "" if found is None else f" Did you mean {found!r}?"


def closest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name closest to ``name``; None if none is close."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(allowed), n=1)), None)


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return ``"1 step"``, ``"2 steps"`` or ``"3,000 classes"``; the plural ends in s unless it is given."""
    return f"{count:,} {plural(count, one, several or one + 's')}"


def plural(count: int, one: str, several: str) -> str:
    """Return the word that goes with a count: ``plural(count, "is", "are")``."""
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
    """Let messages name options in another way, as the command line does while a command runs."""
    global _spelling
    before, _spelling = _spelling, way
    try:
        yield
    finally:
        _spelling = before
