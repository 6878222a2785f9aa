"""What the rows of a task hold and mean: its roles, the usual names of their columns, and how a row is read.

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
"""Role → column; several for flags of labels, for choices, and for texts that are joined."""

# Names by rank: one of the first rank settles it; of a later one only if it is there alone.
# Names are compared in lower case and without spaces, underscores and hyphens.
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
# columns that number the rows, and are never a text or a label
_KEY = re.compile(r"(q|question|sent|sentence|pair|row|u|doc|document)?id\d*|idx|index|guid|unnamed0")
NEGATIVE = re.compile(r"(hard)?neg(ative)?s?(passages?|texts?)?\d*")
ONLY_OTHER = "the only other column"
# roles that several columns may have without being joined
SEVERAL = ("label", "choices")


def key(column: str) -> str:
    """Return a column's name as names are compared."""
    return re.sub(r"[\W_]+", "", column.casefold())


def is_key(column: str) -> bool:
    """Whether a column numbers the rows, by its name."""
    return _KEY.fullmatch(key(column)) is not None


def are_flags(cells: Sequence[Any]) -> bool:
    """Whether cells hold 0 and 1 (or true and false) alone."""
    filled = [cell for cell in cells if not is_nothing(cell)]
    return bool(filled) and all(flag_in(cell) is not None for cell in filled)


Cells = Mapping[str, Sequence[Any]]
"""Columns that no role has taken, each with the cells of the first rows."""


def flag_columns(cells: Cells) -> list[str]:
    """Return the columns that hold 0 and 1 alone."""
    return [name for name, values in cells.items() if not is_key(name) and are_flags(values)]


def only_column(cells: Cells) -> str | None:
    """Return the column that is left, if there is one."""
    rest = [name for name in cells if not is_key(name)]
    return rest[0] if len(rest) == 1 else None


@dataclass(frozen=True)
class Role:
    """What a column may hold."""

    name: str  # as the user calls it
    ranks: tuple[str, ...] = ()  # usual names of its column
    needed: bool = False  # whether rows must have it
    is_label: bool = False  # it is needed only where rows need labels
    is_text: bool = False  # columns may be joined for it
    beside: str = ""  # the role that must have been found for this one to be looked for
    without: str = ""  # the role that must not
    spared_by: tuple[str, ...] = ()  # roles of which any, where found, makes this one unnecessary

    def is_sought(self, found: Found) -> bool:
        return (not self.beside or self.beside in found) and self.without not in found

    def is_missing(self, found: Found, needs_label: bool) -> bool:
        spared = (self.is_label and not needs_label) or not found.keys().isdisjoint(self.spared_by)
        return self.needed and self.name not in found and self.is_sought(found) and not spared


@dataclass(frozen=True)
class Columns:
    """What the columns of a source are taken for."""

    found: Found = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)  # by role, where neither a usual name nor the user told
    flags: Sequence[str] = ()  # of 0 and 1, that name the places of lists of 0 and 1 in the label's column
    ignored: Sequence[str] = ()

    def describe(self) -> list[str]:
        """Return each role with its column, as in ``text = comment_text``."""
        return [self._said(role, column) for role, column in self.found.items()]

    def _said(self, role: str, column: str | list[str]) -> str:
        how = [self.how[role]] if role in self.how else []
        if role == "label" and self.flags:
            how.append(f"lists of 0 and 1 for {', '.join(self.flags)}")
        if isinstance(column, list):
            column = (", " if role in SEVERAL else " + ").join(column)
            role = "labels" if role == "label" else role
        return f"{role.replace('_', ' ')} = {column}" + (f" ({', '.join(how)})" if how else "")


@dataclass(frozen=True)
class Row:
    """A record, and what its source's columns are taken for; ``notes`` counts what is said of all rows together."""

    record: Record
    found: Found
    needs_label: bool
    notes: Counter[str]

    @property
    def where(self) -> str:
        return self.record.where

    def cell(self, role: str) -> Any:
        """Return what stands in the column of a role; of several columns their texts, joined."""
        column, fields = self.found.get(role), self.record.fields
        if not isinstance(column, list):
            return None if column is None else fields.get(column)
        parts = [value for name in column if not is_nothing(value := fields.get(name))]
        return " ".join(map(str, parts)) if parts else None

    def text(self, role: str, name: str = "") -> str:
        return text_in(self.cell(role), name or role, self.where)

    def texts(self) -> str | tuple[str, str]:
        """Return the text, or both of a pair."""
        first = self.text("text")
        return (first, self.text("text_pair", "second text")) if "text_pair" in self.found else first

    def number(self, is_needed: bool) -> float | None:
        """Return the label where it is a number."""
        value = self.cell("label")
        if is_nothing(value) and is_needed:
            raise BadRow(f"There is no label in {self.where}.")
        return None if is_nothing(value) else number_in(value, self.where)

    def example(self, text: Any, label: Any = None) -> Example:
        return Example(text, label, self.where)


class Schema:
    """What is known of the labelled data of a task before it is read. A subclass says how one row is parsed."""

    name: str  # of the task
    roles: tuple[Role, ...]  # in the order of the search
    # made in this order for roles that no name has settled, each with what the user is told of it
    guesses: tuple[tuple[str, Callable[[Cells], str | list[str] | None], str], ...] = ()
    has_flags = False  # columns of 0 and 1 may say what lists of 0 and 1 in the label's column mean
    default_form = "lines"  # of a file whose name says none
    unit = "text"  # what examples of the same part of a split have in common

    def role(self, name: str) -> Role | None:
        return next((role for role in self.roles if role.name == name), None)

    def regroup(self, rows: Records, reader: "ExampleReader") -> Iterator[Record]:
        """Yield a record an example, of rows that may hold a part of one, or several."""
        return rows

    def parse(self, row: Row) -> Example:
        """Return the example of a row; a `BadRow` says why there is none."""
        raise NotImplementedError

    def find_labelling(self, labels: Sequence[Any], options: LabelOptions, columns: Columns) -> Labelling:
        """Return how the labels of a source are written, from all of them (or the first)."""
        return AS_WRITTEN

    def meaning(self, found: Found) -> list[str]:
        """Return in words what the label of a task without classes of its own says."""
        return []

    def check(self, examples: Sequence[Example], labelling: Labelling, name: str) -> None:
        """Refuse data from which nothing can be learned."""

    def find_oddities(self, examples: Sequence[Example], labelling: Labelling, name: str) -> list[str]:
        """Return a sentence for each thing that is allowed but odd within one part of the data."""
        return []

    def together(self, examples: Sequence[Example]) -> Callable[[Example], Hashable]:
        """Return what tells which examples go to the same part of a split."""
        return by_text


def check_varied(examples: Sequence[Example], name: str) -> None:
    """Refuse numbers that are all the same."""
    first = examples[0].label
    if all(example.label == first for example in examples):
        raise InputError(f"All {len(examples):,} rows of {name} have the label {first:g}; training needs rows of two.")


def text_key(example: Example) -> Hashable:
    """Return what two examples have in common if their texts are the same."""
    text = example.text
    if isinstance(text, dict):
        return text.get("question"), text.get("context"), text.get("prompt"), tuple(text.get("choices", ()))
    return tuple(text) if isinstance(text, list) else text


def by_text(example: Example) -> Hashable:
    """Return what examples of the same text have in common, and questions of the same context."""
    context = example.text.get("context") if isinstance(example.text, dict) else None
    return text_key(example) if context is None else context
