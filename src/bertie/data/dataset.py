"""Labelled data of any source → examples of a task: streamed for evaluation, or loaded and checked for training."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from bertie.data import BadRows, Format, Record, is_refused, records
from bertie.data.columns import find_columns, ignored_data
from bertie.data.example import Example
from bertie.data.labelling import AS_WRITTEN, Labelling, LabelOptions
from bertie.data.labels import without_decimals
from bertie.data.records import is_paths, path_names
from bertie.data.schema import Columns, Found, Row, Schema, text_key
from bertie.data.schemas import SCHEMAS
from bertie.errors import InputError, InputTypeError, plural, spelled

# The number of rows from which the columns are identified.
SAMPLE = 1_000
# With fewer rows, it is normal that most labels occur once.
_MANY = 20


@dataclass
class ExampleReader:
    """Reads the rows of one source as examples."""

    task: str  # a key of `schemas.SCHEMAS`
    form: str | Format | None = None
    columns: Mapping[str, Any] | None = None  # by role, as the user names them
    learned: Found = field(default_factory=dict)  # those that a model was trained on, used if the source has them
    labelling: Labelling = AS_WRITTEN
    options: LabelOptions = field(default_factory=LabelOptions)
    bad: BadRows = field(default_factory=BadRows)
    needs_label: bool = True
    name: str | None = None  # of a source that is not a file
    sample: int = SAMPLE
    keeps_fields: bool = False  # whether examples keep the rows they are made of
    # filled while rows are read
    notes: Counter[str] = field(init=False, default_factory=Counter)  # corrections and oddities, counted
    guesses: list[str] = field(init=False, default_factory=list)  # about the format, `bertie.data.Records.notes`
    found: Columns = field(init=False, default_factory=Columns)
    ignored: list[str] = field(init=False, default_factory=list)  # warnings of unread columns that look like data
    mapped: set[str] = field(init=False, default_factory=set)  # the labels of ``options.label_map`` that occurred

    def __post_init__(self) -> None:
        if self.columns is not None and not isinstance(self.columns, Mapping):
            raise InputTypeError(
                f"{spelled('columns')} is {self.columns!r:.60}; give a mapping from the role of a column to its name, "
                "such as {'text': 'Body'}."
            )

    @property
    def schema(self) -> Schema:
        return SCHEMAS[self.task]

    def read(self, source: object) -> Iterator[Example]:
        """Yield the examples of a source as for `bertie.data.records`, one by one."""
        return self.normalize(self._written(source), self.labelling)

    def normalize(self, examples: Iterable[Example], labelling: Labelling) -> Iterator[Example]:
        """Yield examples with normalized labels; rows without a label are left out."""

        def normalized(example: Example) -> Example | None:
            if example.label is None:
                return example
            label = labelling.normalize(example.label, example.where, self.name or "the data", self.notes)
            return None if label is None else replace(example, label=label)

        return (example for example in self.bad.usable(normalized, examples) if example is not None)

    def find_labelling(self, examples: Sequence[Example]) -> Labelling:
        """Return how labels are written, from all examples that were read, or the first of them."""
        labels = [example.label for example in examples if example.label is not None]
        return self.schema.find_labelling(labels, self.options, self.found)

    @property
    def guesses_columns(self) -> bool:
        """Whether some columns were guessed, not named by the user."""
        return set(self.found.found) > set(self.columns or {})

    def read_as(self, labelling: Labelling, classes: Sequence[str]) -> str:
        """Return one line on how columns and labels were read."""
        parts = [*self.found.describe(), *self.schema.meaning(self.found.found), *labelling.describe(classes)]
        if self.found.ignored:
            parts.append(f"ignored columns: {', '.join(self.found.ignored)}")
        return "; ".join(parts)

    def warnings(self) -> list[str]:
        """Return a sentence for each guess about files, each correction and each oddity."""
        counted = [f"{what}: {count:,}." for what, count in self.notes.items() if count]
        return [*self.guesses, *self.ignored, *counted]

    def _written(self, source: object) -> Iterator[Example]:
        """Yield examples with their labels as they are written."""
        rows = records(source, self.form, self.bad, name=self.name, default=self.schema.default_form)
        self.guesses = rows.notes
        rest = self.schema.regroup(rows, self)
        if first := list(islice(rest, self.sample)):
            fields = [record.fields for record in first]
            learned = {role: named for role, named in self.learned.items() if _has_columns(fields[0], named)}
            self.found = find_columns(self.schema, fields, learned | dict(self.columns or {}), self.needs_label)
            self.ignored = ignored_data(self.schema, self.found, fields)
        yield from self.bad.usable(self._parsed, filter(self._is_accepted, chain(first, rest)))

    def _is_accepted(self, record: Record) -> bool:
        if not self.needs_label or not is_refused(record.fields):
            return True
        self.notes[f"Rows of {self.name or 'the data'} not accepted in Prodigy, which are left out"] += 1
        return False

    def _parsed(self, record: Record) -> Example:
        example = self.schema.parse(Row(record, self.found.found, self.needs_label, self.notes))
        if self.keeps_fields:
            example = replace(example, fields=record.fields)
        return self._renamed(example) if self.options.label_map else example

    def _renamed(self, example: Example) -> Example:
        """Return the example with its label renamed by the user's ``label_map``."""
        label, names = example.label, self.options.label_map
        renamed = []
        for written in label if isinstance(label, list) else [label]:
            # the label 1.0 appears as the class 1, and may be named so
            name = without_decimals(written) if isinstance(written, str) and written not in names else written
            is_named = isinstance(name, str) and name in names
            self.mapped |= {name} if is_named else set()
            renamed.append(names[name] if is_named else written)
        return replace(example, label=renamed if isinstance(label, list) else renamed[0])


def _has_columns(fields: Mapping[str, Any], columns: str | list[str]) -> bool:
    return set([columns] if isinstance(columns, str) else columns) <= set(fields)


@dataclass(frozen=True)
class Dataset:
    """The examples to train on and to evaluate on."""

    train: list[Example]
    test: list[Example] | None
    kind: str | None  # of a classification, one of `labelling.KINDS`
    labels: list[str]  # classes or tags in the order of their numbers; empty where a task has none
    bad: BadRows
    warnings: list[str]  # of corrections, oddities, and examples that train and test share
    reader: ExampleReader  # of train
    labelling: Labelling  # for other sources of the same data
    read_as: str  # how columns and labels were read
    is_guess: bool  # whether some of that was guessed, not given by the user

    def reader_of(self, name: str) -> ExampleReader:
        """Return a reader of another source of the same data, which reads it as train was read."""
        return replace(self.reader, labelling=self.labelling, name=name)


def load_dataset(
    task: str,
    train: object,
    test: object = None,
    *,
    form: str | Format | None = None,
    columns: Mapping[str, Any] | None = None,
    options: LabelOptions | None = None,
    scheme: str | None = None,  # of the tags to train on; None: as they are written, but BIO instead of IOB1
    on_bad_row: str = "error",
    keeps_fields: bool = False,  # whether examples keep the rows they are made of
) -> Dataset:
    """Read and check the data of a fine-tuning; options that are not given are guessed from the labels of train."""
    options = options or LabelOptions()
    rows = ExampleReader(
        task, form, columns, options=options, bad=BadRows(on_bad_row), name="train", keeps_fields=keeps_fields
    )
    written = list(rows.read(train))
    labelling = rows.find_labelling(written)
    labelling = labelling if scheme is None else labelling.converted_to(scheme)
    examples = list(rows.normalize(written, labelling))
    name, kind = source_name(train, "train"), labelling.kind
    _check_size(examples, name, 2, rows)
    known = labelling.classes(example.label for example in examples)
    rows.schema.check(examples, labelling, name)
    if options.kind is None and kind is not None and not options.label_names:
        _check_guess(examples, known, name)
    unknown = next((label for label in options.label_map if label not in rows.mapped), None)
    if unknown is not None:
        raise InputError(f"{spelled('label_map')} names {unknown!r}, but no row of {name} has this label.")
    odd = rows.schema.find_oddities(examples, labelling, "train")
    warnings, restricted = [*rows.warnings(), *labelling.ambiguities(known), *odd], labelling.restrict(known, "train")
    guessed = rows.guesses_columns or (kind is not None and options.kind is None)
    read_as = rows.read_as(labelling, known)
    data = Dataset(examples, None, kind, known, rows.bad, warnings, rows, restricted, read_as, guessed)
    return data if test is None else _with_test(data, test)


def _with_test(data: Dataset, test: object) -> Dataset:
    rows, columns = data.reader_of("test"), data.reader.found.describe()
    scored = list(rows.read(test))
    _check_size(scored, source_name(test, "test"), 1, rows)
    odd = rows.schema.find_oddities(scored, data.labelling, "test")
    found = [*data.warnings, *rows.warnings(), *odd, *find_leakage(data.train, scored)]
    other = "" if rows.found.describe() == columns else f"; in test: {'; '.join(rows.found.describe())}"
    return replace(data, test=scored, warnings=list(dict.fromkeys(found)), read_as=data.read_as + other)


def source_name(source: object, name: str) -> str:
    """Return the name of a source for messages: the file's, or else ``name``."""
    return path_names(source) if is_paths(source) else name


def _check_size(examples: list[Example], name: str, least: int, rows: ExampleReader) -> None:
    bad = rows.bad
    left_out = f" ({bad.count} bad rows were left out; the first: {bad.sentences[0]})" if bad.count else ""
    if not examples:
        raise InputError(" ".join([f"{name} has no usable row{left_out}.", *rows.warnings()]))
    if len(examples) < least:
        raise InputError(f"{name} has one row{left_out}; training needs {least} or more.")


def _check_guess(examples: list[Example], labels: list[str], name: str) -> None:
    """Refuse more labels than half the rows: they are hardly classes."""
    if len(examples) >= _MANY and 2 * len(labels) > len(examples):
        raise InputError(
            f"{name} has {len(labels):,} different labels in {len(examples):,} rows, such as {labels[0]!r}: name the "
            f"column of the label, {spelled('columns', {'label': '…'})}, or the kind: "
            f"{spelled('kind', 'single-label')} if they are classes, {spelled('kind', 'regression')} if they are "
            "numbers."
        )


def find_leakage(
    known: Sequence[Example], rows: Sequence[Example], known_name: str = "train", name: str = "test"
) -> list[str]:
    """Return a sentence if texts of ``rows`` are in ``known`` too: their metrics then look better than they are."""
    found = []
    seen = set(map(text_key, known))
    if count := sum(text_key(example) in seen for example in rows):
        found.append(
            f"{count:,} of {len(rows):,} texts of {name} {plural(count, 'is', 'are')} in {known_name} too: "
            f"the metrics on {name} look better than they are."
        )
    # the id of a question without one is its place in the source
    known_ids, ids = (
        [one.text["id"] for one in part if isinstance(one.text, dict) and one.text.get("id", one.where) != one.where]
        for part in (known, rows)
    )
    if count := sum(map(set(known_ids).__contains__, ids)):
        found.append(f"{count:,} of {len(rows):,} ids of {name} {plural(count, 'is', 'are')} in {known_name} too.")
    return found
