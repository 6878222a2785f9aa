"""The schema of a task's data: the roles of columns, their usual names, and how a row is read.

`schemas` has the schema of each task.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertie.data.cells import flag_in, is_nothing, number_in, text_in
from bertie.data.example import Example
from bertie.data.labelling import AS_WRITTEN, Labelling, LabelOptions
from bertie.data.record import BadRow, Record
from bertie.data.records import Records
from bertie.errors import InputError

if TYPE_CHECKING:
    from bertie.data.dataset import ExampleReader

Found = dict[str, str | list[str]]
"""Role → column, or several columns: of label flags, of choices, or of texts to be joined."""

# The usual names by rank: the first rank that names a column decides. Names are compared in lower case, without spaces,
# underscores and hyphens.
TEXT_NAMES = (
    "text",
    "sentence content review reviewtext body comment commenttext tweet message document utterance headline post "
    "description phrase query question input inputs",
)
LABEL_NAMES = (
    "label labels",
    "class classes target targets sentiment category categories stars rating emotion emotions topic topics intent "
    "goldlabel gold genre genres polarity score y tag tags output",
)
SCORE_NAMES = ("score", "similarity similarityscore label relatedness relatednessscore")
# columns that identify rows, and are never a text or a label
_KEY = re.compile(r"(q|question|sent|sentence|pair|row|u|doc|document)?id\d*|idx|index|guid|unnamed0")
NEGATIVE = re.compile(r"(hard)?neg(ative)?s?(passages?|texts?)?\d*")
ONLY_OTHER = "the only other column"
# roles of which several columns are not joined
SEVERAL = ("label", "choices")


def key(column: str) -> str:
    """Return the form of a column's name in which names are compared."""
    return re.sub(r"[\W_]+", "", column.casefold())


def is_key(column: str) -> bool:
    """Whether a column identifies rows, by its name."""
    return _KEY.fullmatch(key(column)) is not None


def are_flags(cells: Sequence[Any]) -> bool:
    """Whether cells hold only 0 and 1 (or true and false)."""
    filled = [cell for cell in cells if not is_nothing(cell)]
    return bool(filled) and all(flag_in(cell) is not None for cell in filled)


Cells = Mapping[str, Sequence[Any]]
"""Columns without a role, each with the cells of the first rows."""


def flag_columns(cells: Cells) -> list[str]:
    """Return the columns that hold only 0 and 1."""
    return [name for name, values in cells.items() if not is_key(name) and are_flags(values)]


def only_column(cells: Cells) -> str | None:
    """Return the remaining column, if there is exactly one."""
    rest = [name for name in cells if not is_key(name)]
    return rest[0] if len(rest) == 1 else None


@dataclass(frozen=True)
class Role:
    """What a column may hold."""

    name: str  # in the user's options
    ranks: tuple[str, ...] = ()  # usual names of its column
    needed: bool = False  # whether rows must have it
    is_label: bool = False  # needed only if rows need labels
    is_text: bool = False  # several columns may be joined
    beside: str = ""  # searched for only if this role was found
    without: str = ""  # searched for only if this role was not found
    spared_by: tuple[str, ...] = ()  # not needed if any of these roles was found

    def is_sought(self, found: Found) -> bool:
        return (not self.beside or self.beside in found) and self.without not in found

    def is_missing(self, found: Found, needs_label: bool) -> bool:
        spared = (self.is_label and not needs_label) or not found.keys().isdisjoint(self.spared_by)
        return self.needed and self.name not in found and self.is_sought(found) and not spared


@dataclass(frozen=True)
class Columns:
    """The roles of a source's columns."""

    found: Found = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)  # role → reason, if neither a usual name nor the user decided
    flags: Sequence[str] = ()  # columns of 0 and 1 that name the elements of multi-hot lists in the label's column
    ignored: Sequence[str] = ()

    def describe(self) -> list[str]:
        """Return each role with its column, as in ``text = comment_text``."""
        return [self._description(role, column) for role, column in self.found.items()]

    def _description(self, role: str, column: str | list[str]) -> str:
        how = [self.how[role]] if role in self.how else []
        if role == "label" and self.flags:
            how.append(f"lists of 0 and 1 for {', '.join(self.flags)}")
        if isinstance(column, list):
            column = (", " if role in SEVERAL else " + ").join(column)
            role = "labels" if role == "label" else role
        return f"{role.replace('_', ' ')} = {column}" + (f" ({', '.join(how)})" if how else "")


@dataclass(frozen=True)
class Row:
    """A record, and the roles of its columns; ``notes`` counts what is reported for all rows together."""

    record: Record
    found: Found
    needs_label: bool
    notes: Counter[str]

    @property
    def where(self) -> str:
        return self.record.where

    def cell(self, role: str) -> Any:
        """Return the cell in the column of a role, or the joined texts of several columns."""
        column, fields = self.found.get(role), self.record.fields
        if not isinstance(column, list):
            return None if column is None else fields.get(column)
        parts = [value for name in column if not is_nothing(value := fields.get(name))]
        return " ".join(map(str, parts)) if parts else None

    def text(self, role: str, name: str = "") -> str:
        return text_in(self.cell(role), name or role, self.where)

    def texts(self) -> str | tuple[str, str]:
        """Return the text, or both texts of a pair."""
        first = self.text("text")
        return (first, self.text("text_pair", "second text")) if "text_pair" in self.found else first

    def number(self, is_needed: bool) -> float | None:
        """Return the label as a number."""
        value = self.cell("label")
        if is_nothing(value) and is_needed:
            raise BadRow(f"There is no label in {self.where}.")
        return None if is_nothing(value) else number_in(value, self.where)

    def example(self, text: Any, label: Any = None) -> Example:
        return Example(text, label, self.where)


class Schema:
    """How the labelled data of a task is read. A subclass parses one row."""

    name: str  # of the task
    roles: tuple[Role, ...]  # in the order of the search
    # role, guess and the reason that the user sees; tried in order for roles without a usual name among the columns
    guesses: tuple[tuple[str, Callable[[Cells], str | list[str] | None], str], ...] = ()
    has_flags = False  # columns of 0 and 1 may name the elements of multi-hot lists in the label's column
    default_form = "lines"  # of a file whose name does not show one
    unit = "text"  # what keeps examples in the same part of a split

    def role(self, name: str) -> Role | None:
        return next((role for role in self.roles if role.name == name), None)

    def regroup(self, rows: Records, reader: "ExampleReader") -> Iterator[Record]:
        """Yield one record per example, from rows that may hold a part of one, or several."""
        return rows

    def parse(self, row: Row) -> Example:
        """Return the example of a row, or raise `BadRow`."""
        raise NotImplementedError

    def find_labelling(self, labels: Sequence[Any], options: LabelOptions, columns: Columns) -> Labelling:
        """Return how the labels of a source are written, from all or the first of them."""
        return AS_WRITTEN

    def meaning(self, found: Found) -> list[str]:
        """Return a description of the label of a task whose classes are not the data's."""
        return []

    def check(self, examples: Sequence[Example], labelling: Labelling, name: str) -> None:
        """Refuse data that nothing can be learned from."""

    def find_oddities(self, examples: Sequence[Example], labelling: Labelling, name: str) -> list[str]:
        """Return a sentence for everything in one part of the data that is allowed but odd."""
        return []

    def together(self, examples: Sequence[Example]) -> Callable[[Example], Hashable]:
        """Return the key of an example; examples with equal keys go to the same part of a split."""
        return by_text


def check_varied(examples: Sequence[Example], name: str) -> None:
    """Refuse numbers that are all the same."""
    first = examples[0].label
    if all(example.label == first for example in examples):
        raise InputError(f"All {len(examples):,} rows of {name} have the label {first:g}; training needs rows of two.")


def text_key(example: Example) -> Hashable:
    """Return the key that examples with the same texts share."""
    text = example.text
    if isinstance(text, dict):
        return text.get("question"), text.get("context"), text.get("prompt"), tuple(text.get("choices", ()))
    return tuple(text) if isinstance(text, list) else text


def by_text(example: Example) -> Hashable:
    """Return the key that examples with the same text share, and questions with the same context."""
    context = example.text.get("context") if isinstance(example.text, dict) else None
    return text_key(example) if context is None else context
