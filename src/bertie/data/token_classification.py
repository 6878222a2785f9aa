"""Rows of token classification: words and their tags, a text with annotated spans, or a table with one word per row."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self

from bertie.data.cells import has_content, is_nothing, list_in, name_in, shown, text_in
from bertie.data.columns import find_columns
from bertie.data.entity_spans import are_spans, tagged_words
from bertie.data.example import Example
from bertie.data.labelling import LISTED, Labelling, LabelOptions, Notes
from bertie.data.labels import check_known, ordered_tags
from bertie.data.record import BadRow, BadRows, Record
from bertie.data.records import Records
from bertie.data.schema import Columns, Role, Row, Schema, key
from bertie.data.tag_schemes import OUTSIDE, convert_tags, find_entities, guess_scheme, split_tag, usual_tag
from bertie.errors import InputError, counted, plural, spelled

if TYPE_CHECKING:
    from bertie.data.dataset import ExampleReader

# names of the column with the sentence of a word, and its content: 17, or Sentence: 17
_SENTENCE = re.compile(r"(sent|sentence)(id|idx|no|number|num)?")
_NUMBER = re.compile(r"\D*\d+")
_SAMPLE = 20
# a tag of BIO, BIOES, BILOU and the like
_PREFIXED = re.compile("[BIESLUMW](-.+)?")
# schemes that can express the same entities
_EQUIVALENT = ("BIO", "BIOES", "IOB1")


class TokenClassificationSchema(Schema):
    """An example has a list of words, and a tag for each."""

    name = "token-classification"
    roles = (
        # of tables with one word per row: the number of its sentence, found before all other roles
        Role("sentence"),
        Role("words", ("words tokens", "word token", "text sentence"), needed=True),
        Role(
            "tags",
            ("tags tag", "entities", "nertags labels label ner postags pos chunktags"),
            needed=True,
            is_label=True,
        ),
    )
    default_form = "conll"

    def regroup(self, rows: Records, reader: "ExampleReader") -> Iterator[Record]:
        """Yield records with words and tags as lists; rows of one word each are grouped into sentences."""
        first = list(islice(rows, _SAMPLE))
        given = dict(reader.columns or {})
        column = given.pop("sentence", None)
        fields = [record.fields for record in first]
        if column is None and len(first) > 1 and self._are_words(fields, given):
            column = next((name for name in fields[0] if _says_sentence(name, fields)), None)
            if column is None:
                how = spelled("columns", {"sentence": "…"})
                raise InputError(
                    f"Each row has one word, from {first[0].where} on, and no column says which sentence it belongs "
                    f"to: {how} names it."
                )
            rows.notes.append(f"Rows of one word each are grouped by the column {column!r}.")
        rest = chain(first, rows)
        yield from (
            rest if column is None or not fields or column not in fields[0] else _sentences(rest, column, reader.bad)
        )

    def _are_words(self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> bool:
        try:
            found = find_columns(self, rows, columns, needs_label=False).found
        except InputError:
            return False
        cells = [row.get(str(found.get(role))) for row in rows for role in ("words", "tags")]
        return "tags" in found and all(isinstance(cell, str) and " " not in cell.strip() for cell in cells)

    def parse(self, row: Row) -> Example:
        text, tags, where = row.cell("words"), row.cell("tags"), row.where
        spans = list_in(tags)
        if isinstance(text, str) and spans is not None and are_spans(spans):
            return row.example(*tagged_words(text_in(text, "text", where), spans, where, row.notes))
        words = list_in(text, separator=" ")
        if not words:
            raise BadRow(f"There are no words in {where}.")
        for place, word in enumerate(words):
            if not isinstance(word, str) or not has_content(word):
                raise BadRow(f"Word {place} of {len(words)} in {where} is {shown(word)}, which has no content.")
        return row.example(words, _tags(list_in(tags, separator=" "), words, row))

    def find_labelling(self, labels: Sequence[Any], options: LabelOptions, columns: Columns) -> "TagLabels":
        return TagLabels.of(labels)

    def check(self, examples: Sequence[Example], labelling: Labelling, name: str) -> None:
        if len(labelling.classes(example.label for example in examples)) == 1:
            raise InputError(
                f"All words of {name} have the tag {examples[0].label[0]!r}; a tagger needs words of two tags."
            )

    def find_oddities(self, examples: Sequence[Example], labelling: Labelling, name: str) -> list[str]:
        """Return a sentence if tags continue entities that were not begun."""
        sequences = [example.label for example in examples]
        scheme = guess_scheme({tag for tags in sequences for tag in tags}, sequences)
        has_beginnings = scheme in ("BIO", "BIOES")
        begun = ((tags, one) for tags in sequences for one in find_entities(tags, scheme)) if has_beginnings else ()
        count = sum(split_tag(tags[one.first], scheme)[0] in ("I", "E") for tags, one in begun)
        if not count:
            return []
        return [
            f"{counted(count, 'tag')} of {name} {plural(count, 'continues', 'continue')} an entity that was not begun, "
            "such as I- without B-."
        ]


def _says_sentence(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    cells = [row.get(column) for row in rows if not is_nothing(row.get(column))]
    is_numbered = bool(cells) and all(_NUMBER.fullmatch(str(name_in(cell))) for cell in cells)
    return is_numbered and _SENTENCE.fullmatch(key(column)) is not None


def _sentences(rows: Iterator[Record], column: str, bad: BadRows) -> Iterator[Record]:
    """Yield sentences, with lists in all columns but that of the sentence; an empty cell continues the sentence."""
    seen: set[Any] = set()
    sentence: list[Record] = []
    for record in rows:
        value = record.fields.get(column)
        begins = not sentence or (not is_nothing(value) and value != sentence[0].fields.get(column))
        if begins and value in seen:
            bad.add(f"The word in {record.where} is of the sentence {value!r}, whose words are not consecutive.")
            continue
        if begins and sentence:
            yield _joined(sentence, column)
            sentence = []
        seen.add(value)
        sentence.append(record)
    if sentence:
        yield _joined(sentence, column)


def _joined(sentence: Sequence[Record], column: str) -> Record:
    first = sentence[0]
    fields = {name: [record.fields.get(name) for record in sentence] for name in first.fields}
    return Record({**fields, column: first.fields[column]}, first.where)


def _tags(tags: list[Any] | None, words: Sequence[str], row: Row) -> list[str] | None:
    if tags is None:
        if row.needs_label:
            raise BadRow(f"There are no tags in {row.where}.")
        return None
    if len(tags) != len(words):
        raise BadRow(
            f"There {plural(len(words), 'is', 'are')} {counted(len(words), 'word')} and "
            f"{counted(len(tags), 'tag')} in {row.where}; each word has one tag."
        )
    named = [name for tag in tags if (name := name_in(tag)) is not None]
    if len(named) < len(tags):
        place = list(map(name_in, tags)).index(None)
        raise BadRow(f"Word {place} of {len(words)} in {row.where}, {shown(words[place])}, has no tag.")
    return named


@dataclass(frozen=True, kw_only=True)
class TagLabels(Labelling):
    """Converts tags as written to those for training and scoring: in their usual spelling, and in one scheme."""

    written: str = "plain"  # the scheme of the tags as written
    wanted: str = "plain"  # the scheme they are converted to, an equivalent one
    spelled: str = ""  # an example of tags that are not spelled like ``B-PER``, if any
    odd: frozenset[str] = frozenset()  # tags without a scheme, if others have one

    @classmethod
    def of(cls, labels: Iterable[Sequence[str]]) -> Self:
        """Return how the tags of texts are written; IOB1 is converted to the equivalent, less ambiguous BIO."""
        sequences = list(labels)
        tags = {tag for text in sequences for tag in text}
        written = guess_scheme(tags, sequences)
        wanted = "BIO" if written == "IOB1" else written
        if written != "plain":
            return cls(written=written, wanted=wanted, spelled=min((t for t in tags if usual_tag(t) != t), default=""))
        odd = {tag for tag in tags if tag != OUTSIDE and not _PREFIXED.fullmatch(tag)}
        return cls(odd=frozenset(odd if any(tag.startswith("B-") for tag in tags) else ()))

    def converted_to(self, scheme: str | None) -> Self:
        wanted = scheme if scheme in _EQUIVALENT and self.written in _EQUIVALENT else self.written
        return replace(self, wanted=wanted)

    def normalize(self, raw: Sequence[str], where: str, name: str, notes: Notes) -> Sequence[str]:
        """As `Labelling.normalize`; tags of types that are unknown to the owner are kept, and noted."""
        if self.odd:
            self._check_odd(raw, where)
        tags = list(map(usual_tag, raw)) if self.spelled else raw
        if self.written != self.wanted:
            tags = convert_tags(tags, self.written, self.wanted)
        if self.known is None or self._all.issuperset(tags):
            return tags
        tags = [self._own.get(usual_tag(tag), tag) for tag in tags]
        for tag in self._unknown(tags, where):
            what = f"Texts of {name} with tags such as {tag!r}, of a type that {self.owner} lacks: they count as missed"
            notes[what] += 1
        return tags

    def _check_odd(self, tags: Sequence[str], where: str) -> None:
        for place, tag in enumerate(tags):
            if tag in self.odd:
                raise BadRow(
                    f"The tag {tag!r} of word {place} in {where} fits no scheme, while others do: BIO has O, B-… and "
                    "I-…, BIOES also E-… and S-…."
                )

    def _unknown(self, tags: Collection[str], where: str) -> list[str]:
        """Return one tag of each type that is unknown to the owner."""
        unknown = set(tags) - self._all - {OUTSIDE}
        if self._scheme != "plain":
            check_known(
                sorted(tag for tag in unknown if usual_tag(tag)[1:2] != "-"), self._all, where, self.owner, "tag"
            )
        kinds = {split_tag(tag, self._scheme)[1]: tag for tag in sorted(unknown, reverse=True)}
        return [tag for kind, tag in kinds.items() if kind not in self._kinds]

    def classes(self, labels: Iterable[Any]) -> list[str]:
        return ordered_tags(tag for tags in labels for tag in tags)

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        return replace(self, known=tuple(classes), owner=owner, odd=frozenset())

    def describe(self, classes: Sequence[str]) -> list[str]:
        how = [f"{self.spelled} is read as {usual_tag(self.spelled)}"] if self.spelled else []
        how += [f"{self.written} is read as {self.wanted}"] if self.written != self.wanted else []
        tags = f"one tag per word, {counted(len(classes), 'tag')}: {', '.join(classes[:LISTED])}"
        tags += ", …" * (len(classes) > LISTED)
        return [tags + (f" ({', '.join(how)})" if how else "")]

    @cached_property
    def _own(self) -> dict[str, str]:
        """The known tags by their usual spelling."""
        return {usual_tag(tag): tag for tag in self.known or ()}

    @cached_property
    def _scheme(self) -> str:
        return guess_scheme(self.known or ())

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(split_tag(tag, self._scheme)[1] for tag in self.known or ())
