"""A row of any source with its location, and the rows that could not be used."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bertie.errors import InputError, counted, nearest, spelled

ON_BAD_ROW = ("error", "skip")
SHOWN = 20
Item = TypeVar("Item")
Made = TypeVar("Made")


class BadRow(Exception):
    """A row that cannot become an example; the only argument is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    fields: Mapping[str, Any]  # a cell of CSV is always a str; other sources have values of other types
    where: str  # "train.csv, line 17": lines of files count from 1, rows of objects and of Parquet from 0

    def text(self, column: str) -> str:
        """Return the text in a column, or raise `InputError`."""
        value = self.fields.get(column)
        if not isinstance(value, str):
            has = ", ".join(map(repr, self.fields))
            raise InputError(f"There is no text in {column!r} of {self.where}; the fields are {has} (see --column).")
        return value


@dataclass
class BadRows:
    """Rows that cannot be used: the first one is an error, or all are left out and counted."""

    on_bad_row: str | None = None  # "error" or "skip"; None is an error whose message does not name this option
    count: int = 0
    sentences: list[str] = field(default_factory=list)  # what was wrong with the first `SHOWN` of them

    def __post_init__(self) -> None:
        if self.on_bad_row not in (None, *ON_BAD_ROW):
            raise InputError(
                f"{spelled('on_bad_row')} is {self.on_bad_row!r}; it must be 'error' or 'skip'."
                f"{nearest(str(self.on_bad_row), ON_BAD_ROW)}"
            )

    def add(self, sentence: str) -> None:
        """Count a row that is left out; ``sentence`` says where it is, what is wrong with it and what was expected."""
        # `from None`: the original error adds nothing
        if self.on_bad_row is None:
            raise InputError(sentence) from None
        if self.on_bad_row == "error":
            raise InputError(f"{sentence} {spelled('on_bad_row', 'skip')} leaves out and counts such rows.") from None
        self.count += 1
        if len(self.sentences) < SHOWN:
            self.sentences.append(sentence)

    def usable(self, make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """Yield ``make(item)`` of each item, and count those that raise `BadRow`."""
        for item in items:
            try:
                made = make(item)
            except BadRow as error:
                self.add(str(error))
            else:
                yield made

    def summary(self) -> str:
        """Return how many rows were left out, and a line for each of the first ones; empty if there were none."""
        if not self.count:
            return ""
        head = f"{counted(self.count, 'bad row was', 'bad rows were')} left out"
        shown = "" if self.count <= len(self.sentences) else f"; the first {len(self.sentences)}"
        return "\n".join([f"{head}{shown}:", *(f"  {sentence}" for sentence in self.sentences)])
