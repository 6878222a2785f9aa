"""Labelled data of any source → examples of a task: streamed for scoring, or loaded and checked for training."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bertie.finetuning.cells import BadRow
from bertie.finetuning.checks import (
    called,
    check_classes,
    check_guess,
    check_size,
    in_one_scheme,
    kept,
    oddities,
    shared,
)
from bertie.finetuning.columns import Found, find_columns
from bertie.finetuning.labels import check_kind, check_known, guess_kind, ordered, ordered_tags, settled
from bertie.finetuning.rows import READERS
from bertie.reading import BadRows, Format, Record, records
from bertie.tasks.example import Example
from bertie.tasks.registry import find_learned


@dataclass
class Rows:
    """How the rows of a source are read. One serves one source.

    Args:
        task: the name or an alias of one that learns.
        form: of the file, as for `bertie.reading.records`.
        columns: role → column where usual names do not tell, as in ``{"text": "Body", "label": "Kind"}``; a list of
            0/1 columns for ``label`` makes each of them a label.
        kind: of a classification, one of `labels.KINDS`; None leaves labels as they are written.
        labels: all labels, or tags, there may be; a row with another one is bad. None allows any.
        owner: who has these labels, for messages.
        bad: takes rows that cannot be used.
        needs_label: False if rows may lack labels, as for prediction.
        name: what to call a source that is no file.

    Attributes:
        notes: what was put right or is odd, counted; `warnings` says it.
        guesses: what the reader guessed of the files, a sentence each (`bertie.reading.Records.notes`).
        found: role → column, once the first row was read.
    """

    task: str
    form: str | Format | None = None
    columns: Mapping[str, Any] | None = None
    kind: str | None = None
    labels: Collection[str] | None = None
    owner: str = "the model"
    bad: BadRows = field(default_factory=BadRows)
    needs_label: bool = True
    name: str | None = None
    notes: Counter[str] = field(default_factory=Counter)
    guesses: list[str] = field(default_factory=list)
    found: Found = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.task = find_learned(self.task).learns
        check_kind(self.kind)
        self._known = None if self.labels is None else frozenset(self.labels)

    def read(self, source: Any) -> Iterator[Example]:
        """Yield the examples of a source, one by one.

        Args:
            source: as for `bertie.reading.records`; a file whose name says no form is read as CoNLL for tags.

        Raises:
            InputError: a column that is missing or ambiguous; a bad row, unless these are skipped.
            InputTypeError, BertieError: as for `bertie.reading.records`.
        """
        default = "conll" if self.task == "token-classification" else "lines"
        rows = records(source, self.form, self.bad, name=self.name, default=default)
        self.guesses = rows.notes
        for record in rows:
            # blank lines part the documents of plain text, and are no mistake there
            if self.task == "masked-lm" and record.fields.get("text") == "":
                continue
            if not self.found:
                self.found = find_columns(self.task, record.fields, self.columns, self.needs_label)
            try:
                example = self._example(record)
            except BadRow as error:
                problem = str(error)
            else:
                yield example
                continue
            self.bad.add(problem)

    def warnings(self) -> list[str]:
        """Return a sentence for whatever was guessed, put right or is odd."""
        return [*self.guesses, *(f"{what}: {count:,}." for what, count in self.notes.items() if count)]

    def _example(self, record: Record) -> Example:
        example = READERS[self.task](record, self.found, self.needs_label, self.notes)
        if example.label is None:
            return example
        if self.task == "token-classification" and self._known is not None:
            check_known(example.label, self._known, example.where, self.owner, "tag")
        if self.task == "sequence-classification" and self.kind is not None:
            return self.settle(example, self.kind)
        return example

    def settle(self, example: Example, kind: str) -> Example:
        """Return an example with its label in the form of its kind, and checked to be known."""
        label = settled(example.label, kind, example.where)
        if self._known is not None and kind != "regression":
            names = label if isinstance(label, list) else [label]
            check_known(names, self._known, example.where, self.owner)
        return Example(example.text, label, example.where)


@dataclass(frozen=True)
class Data:
    """What is trained on and scored on.

    Attributes:
        train: the examples to learn from.
        dev: those to score on; None if there are none.
        kind: of a classification, one of `labels.KINDS`; else None.
        labels: classes or tags in the order of their numbers; empty where a task has none.
        bad: the account of rows that were left out.
        warnings: what was put right, what is odd, and what train and dev share, a sentence each.
    """

    train: list[Example]
    dev: list[Example] | None
    kind: str | None
    labels: list[str]
    bad: BadRows
    warnings: list[str]


def load(
    task: str,
    train: Any,
    dev: Any = None,
    *,
    form: str | Format | None = None,
    columns: Mapping[str, Any] | None = None,
    kind: str | None = None,
    labels: Collection[str] | None = None,
    on_bad_row: str = "error",
) -> Data:
    """Read and check the data of a fine-tuning.

    Args:
        task: the name or an alias of one that learns.
        train: a source as for `bertie.reading.records`.
        dev: another one.
        form: of both files; None takes it from their names.
        columns: as for `Rows`, of both.
        kind: of a classification; None guesses it from the labels of train (`labels.guess_kind`).
        labels: all labels in their order; None takes those of train.
        on_bad_row: ``error`` or ``skip``.

    Raises:
        InputError: as for `Rows.read`; no rows, one row, or one class only.
    """
    bad = BadRows(on_bad_row)
    options: dict[str, Any] = {"form": form, "columns": columns, "bad": bad, "owner": "train"}
    rows = Rows(task, kind=kind, labels=labels, name="train", **options)
    examples = list(rows.read(train))
    is_guess = rows.task == "sequence-classification" and kind is None and bool(examples)
    if is_guess:
        kind = guess_kind([example.label for example in examples], rows.found.get("label"))
        examples = kept(examples, partial(rows.settle, kind=kind), bad)
    if rows.task == "token-classification":
        examples = in_one_scheme(examples, bad)
    name = called(train, "train")
    check_size(examples, name, 2, bad)
    known = list(labels) if labels is not None else _labels(examples, rows.task, kind)
    check_classes(examples, rows.task, kind, name)
    if is_guess:
        check_guess(examples, known, name)
    found = [*rows.warnings(), *oddities(examples, rows.task, kind, "train")]
    if dev is None:
        return Data(examples, None, kind, known, bad, found)
    others = Rows(task, kind=kind, labels=known or None, name="dev", **options)
    scored = list(others.read(dev))
    check_size(scored, called(dev, "dev"), 1, bad)
    found += [*others.warnings(), *oddities(scored, rows.task, kind, "dev"), *shared(examples, scored)]
    return Data(examples, scored, kind, known, bad, found)


def _labels(examples: list[Example], task: str, kind: str | None) -> list[str]:
    if task == "token-classification":
        return ordered_tags(tag for example in examples for tag in example.label)
    if kind == "multi-label":
        return ordered(name for example in examples for name in example.label)
    return ordered(example.label for example in examples) if kind == "single-label" else []
