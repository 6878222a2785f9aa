"""The schema of every task; those whose examples are not a text, a pair or a triplet have their own files."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertie.data.cells import flag_in, is_nothing, list_in, name_in, shown, text_in
from bertie.data.example import Example
from bertie.data.labelling import Labelling, LabelOptions
from bertie.data.labels import ClassLabels, Raw, find_class_labels, find_joined
from bertie.data.multiple_choice import MultipleChoiceSchema
from bertie.data.question_answering import QuestionAnsweringSchema
from bertie.data.record import BadRow, Record
from bertie.data.records import Records
from bertie.data.schema import (
    LABEL_NAMES,
    NEGATIVE,
    ONLY_OTHER,
    SCORE_NAMES,
    TEXT_NAMES,
    Columns,
    Found,
    Role,
    Row,
    Schema,
    by_text,
    check_varied,
    flag_columns,
    key,
    only_column,
)
from bertie.data.token_classification import TokenClassificationSchema
from bertie.errors import InputError

if TYPE_CHECKING:
    from bertie.data.dataset import ExampleReader

_POSITIVE = re.compile(r"pos(itive)?s?(passages?|texts?)?\d*")
_LEFT_OUT = "negatives that are not read, as each positive passage is paired with one"
# with fewer queries than this, it is their passages that are split
_MIN_QUERIES = 3


class SequenceClassificationSchema(Schema):
    """A label is a name, names (a cell, a list, columns of 0 and 1, a list of 0 and 1), or a number."""

    name = "text-classification"
    roles = (
        Role("text", TEXT_NAMES, needed=True, is_text=True),
        Role("text_pair", is_text=True),
        Role("label", LABEL_NAMES, needed=True, is_label=True),
    )
    guesses = (
        ("label", lambda cells: flags if len(flags := flag_columns(cells)) > 1 else None, "0/1 columns"),
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
            hint = "; if a text may have several labels, [] stands for none"
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
        """Return a sentence if labels that were not split seem to be several in one."""
        return find_joined([example.label for example in examples], name) if labelling.kind == "single-label" else []


def _names(value: Any) -> Raw | None:
    """Return the label as one name or a list of names, which are interpreted once all rows are known."""
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


class MaskedLMSchema(Schema):
    """An example is a text without a label."""

    name = "fill-mask"
    roles = (Role("text", TEXT_NAMES, needed=True, is_text=True),)
    guesses = (("text", only_column, ONLY_OTHER),)

    def regroup(self, rows: Records, reader: "ExampleReader") -> Iterator[Record]:
        # blank lines separate the documents of plain text, and are not bad rows
        return (record for record in rows if record.fields.get("text") != "")

    def parse(self, row: Row) -> Example:
        return row.example(row.texts())


class NextSentenceSchema(Schema):
    """A label is 0 if the second text follows the first."""

    name = "next-sentence"
    roles = (
        Role("text", needed=True, is_text=True),
        Role("text_pair", needed=True, is_text=True),
        Role("is_next", ("isnext", "next")),
        Role("label", LABEL_NAMES, needed=True, is_label=True, without="is_next"),
    )

    def parse(self, row: Row) -> Example:
        text, role = row.texts(), "is_next" if "is_next" in row.found else "label"
        value = None if isinstance(row.found.get(role), list) else row.cell(role)
        if is_nothing(value) and not row.needs_label:
            return row.example(text)
        # the reference's label 0 means that the second text follows the first; in a column is_next, 1 does
        meanings = {"0": 0, "1": 1} if role == "label" else {"1": 0, "true": 0, "0": 1, "false": 1}
        label = {**meanings, "isnext": 0, "notnext": 1}.get(str(name_in(value)).lower())
        if label is None:
            allowed = "0 (follows) or 1 (does not)" if role == "label" else "1 (follows) or 0"
            raise BadRow(f"The label in {row.where} is {shown(value)}; it must be {allowed}.")
        return row.example(text, label)

    def meaning(self, found: Found) -> list[str]:
        return ["the label 0 means that the second text follows the first"] if "label" in found else []

    def check(self, examples: Sequence[Example], labelling: Labelling, name: str) -> None:
        check_varied(examples, name)


class EmbeddingSchema(Schema):
    """An example is a pair, optionally with a similarity score, or an anchor with a positive and a negative."""

    name = "embed"
    roles = (
        Role("positive", ("positive", "pos"), is_text=True),
        Role("negative", ("negative", "neg"), is_text=True),
        Role("anchor", ("anchor", "query question"), needed=True, is_text=True, beside="positive"),
        Role("text", needed=True, is_text=True, without="positive"),
        Role("text_pair", needed=True, is_text=True, without="positive"),
        Role("label", SCORE_NAMES),
    )
    guesses = (
        (
            "label",
            lambda cells: flags[0] if len(flags := flag_columns(cells)) == 1 else None,
            "the only column of 0 and 1",
        ),
    )

    def regroup(self, rows: Records, reader: "ExampleReader") -> Iterator[Record]:
        """Yield a record for each positive passage, each with one of the negatives in turn."""
        for record in rows:
            good, poor, rest = _passages(record)
            if not any(isinstance(record.fields[name], list) for name in record.fields.keys() - rest.keys()):
                yield record
                continue
            reader.notes[_LEFT_OUT] += max(len(poor) - len(good), 0)
            for number, positive in enumerate(good):
                negative = {"negative": poor[number % len(poor)]} if poor else {}
                yield Record({**rest, "positive": positive, **negative}, record.where)

    def parse(self, row: Row) -> Example:
        if "positive" in row.found:
            text: Any = tuple(row.text(role) for role in ("anchor", "positive", "negative") if role in row.found)
        else:
            text = row.texts()
        return row.example(text, row.number(is_needed=True) if "label" in row.found else None)

    def meaning(self, found: Found) -> list[str]:
        if "label" in found:
            return ["the label is the similarity of two texts"]
        return ["the texts of a row belong together"]

    def find_oddities(self, examples: Sequence[Example], labelling: Labelling, name: str) -> list[str]:
        """Return a sentence if training pairs share their first or their second text."""
        if name != "train" or examples[0].label is not None:
            return []
        counts = [Counter(example.text[side] for example in examples) for side in (0, 1)]
        repeated = sum(any(counts[side][example.text[side]] > 1 for side in (0, 1)) for example in examples)
        if not repeated:
            return []
        return [
            f"{repeated:,} of {len(examples):,} rows of {name} share their anchor or their partner with others; within "
            "a step, a partner of the same text never counts as a negative."
        ]


class Seq2SeqSchema(Schema):
    """A label is a tuple of reference targets, the first of which is trained on; a cell holds one or a list of them."""

    name = "text2text-generation"
    roles = (
        Role("target", ("target", "summary highlights abstract", "targettext output response label"), needed=True),
        Role(
            "source",
            ("source", "document article dialogue", "sourcetext input text content"),
            needed=True,
            is_text=True,
        ),
    )
    guesses = (("source", only_column, ONLY_OTHER), ("target", only_column, ONLY_OTHER))

    def parse(self, row: Row) -> Example:
        cell = row.cell("target")
        targets = cell if isinstance(cell, list) and cell else [cell]
        return row.example(row.text("source"), tuple(text_in(one, "target", row.where) for one in targets))

    def meaning(self, found: Found) -> list[str]:
        return ["the target is to be generated from the source"]


class RerankingSchema(Schema):
    """An example is a query and a passage, with its relevance. All passages of a query are in one part of a split."""

    name = "reranking"
    roles = (
        Role("query", ("query", "question search title"), needed=True, is_text=True),
        Role("passage", ("passage", "document answer context text doc product"), needed=True, is_text=True),
        Role("label", ("label", "score relevance relevant islabel gold rating grade"), needed=True, is_label=True),
    )

    def regroup(self, rows: Records, reader: "ExampleReader") -> Iterator[Record]:
        """Yield each passage of columns such as ``pos`` and ``neg`` with the label 1 or 0."""
        for record in rows:
            good, poor, rest = _passages(record)
            if not any(_POSITIVE.fullmatch(key(name)) for name in record.fields):
                yield record
                continue
            for label, passages in ((1, good), (0, poor)):
                for passage in passages:
                    yield Record({**rest, "passage": passage, "label": label}, record.where)

    def parse(self, row: Row) -> Example:
        return row.example((row.text("query"), row.text("passage")), row.number(row.needs_label))

    def check(self, examples: Sequence[Example], labelling: Labelling, name: str) -> None:
        check_varied(examples, name)

    def together(self, examples: Sequence[Example]) -> Callable[[Example], Hashable]:
        return by_query if len(set(map(by_query, examples))) >= _MIN_QUERIES else by_text


def by_query(example: Example) -> Hashable:
    return example.text[0]


def _passages(record: Record) -> tuple[list[Any], list[Any], Mapping[str, Any]]:
    """Return the positive passages, the negative ones, and the other fields."""
    fields = record.fields
    good, poor = ([name for name in fields if which.fullmatch(key(name))] for which in (_POSITIVE, NEGATIVE))
    rest = {name: value for name, value in fields.items() if name not in (*good, *poor)}
    return _in_columns(fields, good), _in_columns(fields, poor), rest


def _in_columns(fields: Mapping[str, Any], columns: Sequence[str]) -> list[Any]:
    """Return the passages of columns; a passage may be a mapping with ``text`` and ``title``."""
    cells = [one for column in columns for one in list_in(fields[column]) or [fields[column]]]
    return [_text(one) for one in cells if not is_nothing(one) and one != []]


def _text(passage: Any) -> Any:
    if not isinstance(passage, Mapping):
        return passage
    return " ".join(part for part in (passage.get("title"), passage.get("text")) if part)


SCHEMAS: Mapping[str, Schema] = {
    schema.name: schema
    for schema in (
        SequenceClassificationSchema(),
        TokenClassificationSchema(),
        QuestionAnsweringSchema(),
        MultipleChoiceSchema(),
        NextSentenceSchema(),
        MaskedLMSchema(),
        EmbeddingSchema(),
        Seq2SeqSchema(),
        RerankingSchema(),
    )
}
