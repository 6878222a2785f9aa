"""A row of any source with its place, and the account of rows that could not be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bertie.errors import InputError, counted, nearest, spelled

ON_BAD_ROW = ("error", "skip")
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Record:
    """One row.

    Attributes:
        fields: column → value. A cell of CSV is always a str; other sources have values of their own types.
        where: "train.csv, line 17", for messages. Lines of files count from 1; rows of Python objects and of Parquet,
            which have no lines, from 0.
    """

    fields: Mapping[str, Any]
    where: str


@dataclass
class BadRows:
    """What becomes of rows that cannot be used: the first is an error, or all are left out and counted.

    Attributes:
        on_bad_row: ``error`` or ``skip``; None is an error where the user has no such option.
        count: how many were left out.
        sentences: what was wrong with the first 20 of them.
    """

    on_bad_row: str | None = None
    count: int = 0
    sentences: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.on_bad_row not in (None, *ON_BAD_ROW):
            raise InputError(
                f"{spelled('on_bad_row')} is {self.on_bad_row!r}; it must be 'error' or 'skip'."
                f"{nearest(str(self.on_bad_row), ON_BAD_ROW)}"
            )

    def add(self, sentence: str) -> None:
        """Count a row that is left out; ``sentence`` says where it is, what is wrong with it and what was expected.

        Raises:
            InputError: rows are not to be left out.
        """
        if self.on_bad_row is None:
            raise InputError(sentence)
        if self.on_bad_row == "error":
            raise InputError(f"{sentence} {spelled('on_bad_row', 'skip')} leaves out and counts such rows.")
        self.count += 1
        if len(self.sentences) < SHOWN:
            self.sentences.append(sentence)

    def summary(self) -> str:
        """Return how many rows were left out, with one line for each of the first; empty if there were none."""
        if not self.count:
            return ""
        head = f"{counted(self.count, 'bad row was', 'bad rows were')} left out"
        shown = "" if self.count <= len(self.sentences) else f"; the first {len(self.sentences)}"
        return "\n".join([f"{head}{shown}:", *(f"  {sentence}" for sentence in self.sentences)])
