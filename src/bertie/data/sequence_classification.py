"""Rows of a classification: a text or a pair, and its label: one name, several, or a number."""

from collections.abc import Sequence
from typing import Any

from bertie.data.cells import flag_in, is_nothing, list_in, name_in, shown
from bertie.data.example import Example
from bertie.data.labelling import Labelling, LabelOptions
from bertie.data.labels import ClassLabels, Raw, find_class_labels, find_joined
from bertie.data.record import BadRow
from bertie.data.schema import (
    LABEL_NAMES,
    ONLY_OTHER,
    TEXT_NAMES,
    Cells,
    Columns,
    Role,
    Row,
    Schema,
    check_varied,
    flag_columns,
    only_column,
)
from bertie.errors import InputError


def _several_flags(cells: Cells) -> list[str] | None:
    flags = flag_columns(cells)
    return flags if len(flags) > 1 else None


class SequenceClassification(Schema):
    """A label is a name, names (a cell, a list, columns of 0 and 1, a list of 0 and 1), or a number."""

    name = "sequence-classification"
    roles = (
        Role("text", TEXT_NAMES, needed=True, is_text=True),
        Role("text_pair", is_text=True),
        Role("label", LABEL_NAMES, needed=True, is_label=True),
    )
    guesses = (
        ("label", _several_flags, "0/1 columns"),
        ("text", only_column, ONLY_OTHER),
        ("label", only_column, ONLY_OTHER),
    )
    has_flags = True

    def parse(self, row: Row) -> Example:
        text, column = row.texts(), row.found.get("label")
        if isinstance(column, list):
            return row.example(text, _flags(row, column))
        label = _names(row.cell("label"))
        if label is None and row.needs_label:
            hint = "; where a text may have several labels, [] stands for none"
            raise BadRow(f"There is no label in {row.where}{hint if str(column).lower() == 'labels' else ''}.")
        return row.example(text, label)

    def find_labelling(self, labels: Sequence[Raw], options: LabelOptions, columns: Columns) -> ClassLabels:
        return find_class_labels(labels, options, columns.found.get("label"), columns.flags)

    def check(self, examples: Sequence[Example], labelling: Labelling, name: str) -> None:
        first = examples[0].label
        if labelling.kind == "regression":
            check_varied(examples, name)
        elif labelling.kind == "multi-label":
            if not any(example.label for example in examples):
                raise InputError(f"No row of {name} has any label; a classifier needs some.")
        elif all(example.label == first for example in examples):
            raise InputError(
                f"All {len(examples):,} rows of {name} have the label {first!r}; a classifier needs rows of two "
                "classes."
            )

    def find_oddities(self, examples: Sequence[Example], labelling: Labelling, name: str) -> list[str]:
        """Return a sentence if labels seem to be several in one, though they were not parted."""
        return find_joined([example.label for example in examples], name) if labelling.kind == "single-label" else []


def _names(value: Any) -> Raw | None:
    """Return the label as one name or a list of them; what they mean is settled when all are known."""
    items = list_in(value)
    return name_in(value) if items is None else [name for item in items if (name := name_in(item)) is not None]


def _flags(row: Row, columns: list[str]) -> list[str] | None:
    """Return "1" or "0" for each column."""
    flags = []
    for column in columns:
        value = row.record.fields.get(column)
        if is_nothing(value) and not row.needs_label:
            return None
        if (flag := flag_in(value)) is None:
            raise BadRow(f"The label {column!r} in {row.where} is {shown(value)}, not 0 or 1.")
        flags.append(str(int(flag)))
    return flags
