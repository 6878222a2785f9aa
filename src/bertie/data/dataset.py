"""Labelled data of any source → examples of a task: streamed for scoring, or loaded and checked for training."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from bertie.data import BadRows, Format, Record, is_refused, records
from bertie.data.cells import BadRow
from bertie.data.columns import Columns, find_columns, ignored_data
from bertie.data.example import Example
from bertie.data.labelling import Labelling, LabelOptions, find_doubts, find_labelling
from bertie.data.labels import as_whole
from bertie.data.parsers import READERS
from bertie.data.regroup import group_sentences, split_passages
from bertie.data.roles import Found
from bertie.data.tag_labels import TagLabels
from bertie.data.validation import (
    check_classes,
    check_guess,
    check_size,
    drop_odd_tags,
    find_leakage,
    find_oddities,
    source_name,
)
from bertie.errors import InputError, spelled

# The columns are found from so many rows.
SAMPLE = 1_000


@dataclass
class ExampleReader:
    """How the rows of a source are read. One serves one source.

    Args:
        task: what its data is source_name, a key of `roles.LAYOUTS`.
        form: of the file, as for `bertie.data.records`.
        columns: role → column where usual names do not tell, as in ``{"text": "Body", "label": "Kind"}``; a list of
            0/1 columns for ``label`` makes each of them a label.
        labelling: how labels are written; None leaves them as they are, for `normalize`.
        options: what the user says of labels.
        bad: takes rows that cannot be used.
        needs_label: False if rows may lack labels, as for prediction.
        name: what to call a source that is no file.
        sample: the number of rows from which the columns are found.
        keeps_fields: whether examples keep the rows they are made of.

    Attributes:
        notes: what was put right or is odd, counted; `warnings` says it.
        guesses: what the reader guessed of the files, a sentence each (`bertie.data.Records.notes`).
        found: what the columns are taken for, once the first rows were read.
        ignored: sentences on columns that are not read and look like data.
        mapped: the labels of ``options.map`` that stood in a row.
    """

    task: str
    form: str | Format | None = None
    columns: Mapping[str, Any] | None = None
    labelling: Labelling | None = None
    options: LabelOptions = field(default_factory=LabelOptions)
    bad: BadRows = field(default_factory=BadRows)
    needs_label: bool = True
    name: str | None = None
    sample: int = SAMPLE
    keeps_fields: bool = False
    notes: Counter[str] = field(default_factory=Counter)
    guesses: list[str] = field(default_factory=list)
    found: Columns = field(default_factory=Columns)
    ignored: list[str] = field(default_factory=list)
    mapped: set[str] = field(default_factory=set)

    def read(self, source: Any) -> Iterator[Example]:
        """Yield the examples of a source, one by one.

        Args:
            source: as for `bertie.data.records`; a file whose name says no form is read as CoNLL for tags.

        Raises:
            InputError: a column that is missing or ambiguous; a bad row, unless these are skipped.
            InputTypeError, BertieError: as for `bertie.data.records`.
        """
        written = self._written(source)
        yield from written if self.labelling is None else self.normalize(written, self.labelling)

    def normalize(self, examples: Iterable[Example], labelling: Labelling | None) -> Iterator[Example]:
        """Yield examples with their labels as they are learned; rows that have none are left out."""
        for example in examples:
            if labelling is None or example.label is None:
                yield example
                continue
            try:
                label = labelling.normalize(example.label, example.where, self.name or "the data", self.notes)
            except BadRow as error:
                self.bad.add(str(error))
                continue
            if label is not None:
                yield replace(example, label=label)

    def find_labelling(self, examples: Sequence[Example]) -> Labelling | None:
        """Return how the labels of examples that were read, all or the first, are written."""
        labels = [example.label for example in examples if example.label is not None]
        return find_labelling(self.task, labels, self.options, self.found.found.get("label"), self.found.flags)

    def warnings(self) -> list[str]:
        """Return a sentence for whatever was guessed of files, put right or is odd."""
        counted = [f"{what}: {count:,}." for what, count in self.notes.items() if count]
        return [*self.guesses, *self.ignored, *counted]

    def _written(self, source: Any) -> Iterator[Example]:
        """Yield examples with their labels as they are written."""
        rest = self._records(source)
        first = list(islice(rest, self.sample))
        if first:
            fields = [record.fields for record in first]
            self.found = find_columns(self.task, fields, self.columns, self.needs_label)
            self.ignored = ignored_data(self.task, self.found, fields)
        for record in chain(first, rest):
            if self.needs_label and is_refused(record.fields):
                self.notes[f"Rows of {self.name or 'the data'} not accepted in Prodigy, which are left out"] += 1
                continue
            try:
                example = READERS[self.task](record, self.found.found, self.needs_label, self.notes)
            except BadRow as error:
                self.bad.add(str(error))
                continue
            if self.keeps_fields:
                example = replace(example, fields=record.fields)
            yield self._renamed(example) if self.options.map else example

    def _renamed(self, example: Example) -> Example:
        """Return an example whose label has the name that the user gives it."""
        label, names = example.label, self.options.map
        written = label if isinstance(label, list) else [label]
        # who has seen the class 1 may call the label 1.0 so
        known = [as_whole(name) if isinstance(name, str) and name not in names else name for name in written]
        self.mapped |= {name for name in known if isinstance(name, str) and name in names}
        renamed = [
            names.get(name, one) if isinstance(name, str) else one for name, one in zip(known, written, strict=True)
        ]
        return replace(example, label=renamed if isinstance(label, list) else renamed[0])

    def _records(self, source: Any) -> Iterator[Record]:
        default = "conll" if self.task == "token-classification" else "lines"
        rows = records(source, self.form, self.bad, name=self.name, default=default)
        self.guesses = rows.notes
        if self.task == "token-classification":
            return group_sentences(rows, self.columns, self.bad, rows.notes)
        if self.task == "masked-lm":
            # blank lines part the documents of plain text, and are no mistake there
            return (record for record in rows if record.fields.get("text") != "")
        return split_passages(rows, self.task, self.notes)


@dataclass(frozen=True)
class Dataset:
    """What is trained on and scored on.

    Attributes:
        train: the examples to learn from.
        dev: those to score on; None if there are none.
        kind: of a classification, one of `labels.KINDS`; else None.
        labels: classes or tags in the order of their numbers; empty where a task has none.
        bad: the account of rows that were left out.
        warnings: what was put right, what is odd, and what train and dev share, a sentence each.
        labelling: how labels are written, for other sources of the same data.
        read_as: what was read as what, in one line.
        is_guess: whether some of that was guessed, not given by the user.
    """

    train: list[Example]
    dev: list[Example] | None
    kind: str | None
    labels: list[str]
    bad: BadRows
    warnings: list[str]
    labelling: Labelling | None = None
    read_as: str = ""
    is_guess: bool = False


def load_dataset(
    task: str,
    train: Any,
    dev: Any = None,
    *,
    form: str | Format | None = None,
    columns: Mapping[str, Any] | None = None,
    options: LabelOptions | None = None,
    scheme: str | None = None,
    on_bad_row: str = "error",
) -> Dataset:
    """Read and check the data of a fine-tuning.

    Args:
        task: as for `ExampleReader`.
        train: a source as for `bertie.data.records`.
        dev: another one.
        form: of both files; None takes it from their names.
        columns: as for `ExampleReader`, of both.
        options: what the user says of labels; what is left open is guessed from those of train.
        scheme: that tags are learned in; None: as they are written, but IOB1 as BIO.
        on_bad_row: ``error`` or ``skip``.

    Raises:
        InputError: as for `ExampleReader.read`; no rows, one row, or one class only.
    """
    said = options or LabelOptions()
    bad = BadRows(on_bad_row)
    shared_by_all: dict[str, Any] = {"form": form, "columns": columns, "options": said, "bad": bad}
    rows = ExampleReader(task, name="train", **shared_by_all)
    written = list(rows.read(train))
    labelling = rows.find_labelling(written)
    if isinstance(labelling, TagLabels) and scheme is not None:
        labelling = labelling.brought_to(scheme)
    examples = list(rows.normalize(written, labelling))
    if rows.task == "token-classification":
        examples = drop_odd_tags(examples, bad)
    name, kind = source_name(train, "train"), getattr(labelling, "kind", None)
    check_size(examples, name, 2, bad, rows.warnings())
    known = labelling.classes(example.label for example in examples) if labelling is not None else []
    check_classes(examples, rows.task, kind, name)
    if said.kind is None and kind is not None and not said.names:
        check_guess(examples, known, name)
    _check_map(rows, name)
    data = Dataset(
        examples,
        None,
        kind,
        known,
        bad,
        [*rows.warnings(), *find_doubts(labelling, known), *find_oddities(examples, rows.task, kind, "train")],
        None if labelling is None else labelling.restrict(known, "train"),
        read_as(rows, labelling, known),
        set(rows.found.found) > set(columns or {}) or (kind is not None and said.kind is None),
    )
    if dev is None:
        return data
    return _with_dev(data, ExampleReader(task, labelling=data.labelling, name="dev", **shared_by_all), dev, rows)


def _with_dev(data: Dataset, rows: ExampleReader, dev: Any, train: ExampleReader) -> Dataset:
    scored = list(rows.read(dev))
    check_size(scored, source_name(dev, "dev"), 1, data.bad, rows.warnings())
    found = [*data.warnings, *rows.warnings(), *find_oddities(scored, rows.task, data.kind, "dev")]
    found += find_leakage(data.train, scored)
    other = "" if rows.found.describe() == train.found.describe() else f"; in dev: {'; '.join(rows.found.describe())}"
    return replace(data, dev=scored, warnings=list(dict.fromkeys(found)), read_as=data.read_as + other)


def read_as(rows: ExampleReader, labelling: Labelling | None, classes: Sequence[str]) -> str:
    """Return in one line what was read as what."""
    found = rows.found.found
    meaning = _meaning(rows.task, found) if labelling is None else labelling.describe(classes)
    said = [*rows.found.describe(), *meaning]
    if rows.found.ignored:
        said.append(f"ignored columns: {', '.join(rows.found.ignored)}")
    return "; ".join(said)


def _meaning(task: str, found: Found) -> list[str]:
    """Return in words what the label of a task without classes of its own says."""
    if task == "embedding":
        return ["the label says how alike two texts are" if "label" in found else "the texts of a row belong together"]
    if task == "next-sentence" and "label" in found:
        return ["the label 0 says that the second text follows the first"]
    return []


def _check_map(rows: ExampleReader, name: str) -> None:
    """Refuse names of labels to be changed that no row has."""
    unknown = next((label for label in rows.options.map if label not in rows.mapped), None)
    if unknown is not None:
        raise InputError(f"{spelled('label_map')} names {unknown!r}, but no row of {name} has this label.")
