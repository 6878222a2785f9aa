"""Entities as character spans → words and tags; spans that do not fit are counted, with an example."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bertie.data.cells import has_content, shown
from bertie.data.record import BadRow
from bertie.data.tag_schemes import Entity, make_tags
from bertie.tokenization.wordpiece import is_chinese, is_punctuation

_STARTS, _ENDS = ("start", "start_offset"), ("end", "end_offset")
_LABELS = ("label", "labels", "entity", "entity_group", "type", "tag")


class _Span(NamedTuple):
    start: int
    end: int  # exclusive
    label: str


def are_spans(items: Sequence[Any]) -> bool:
    """Whether all items look like spans of characters: ``[start, end, label]``, or mappings of these."""
    return all(isinstance(one, list | tuple | Mapping) for one in items)


def tagged_words(text: str, items: Sequence[Any], where: str, notes: Counter[str]) -> tuple[list[str], list[str]]:
    """Return the words of a text, split as by BERT's tokenizer, and their BIO tags; spans that do not fit are noted."""
    words = [(start, end) for start, end in _words(text) if has_content(text[start:end])]
    found: list[Entity] = []
    for span in sorted({_span(one, text, where) for one in items}, key=lambda span: (span.start - span.end, span)):
        inside = [number for number, (start, end) in enumerate(words) if start < span.end and end > span.start]
        example = f"{text[span.start : span.end]!r:.60} ({span.label}) in {where}"
        if not inside:
            _note(notes, "Spans without a word, which are left out", example)
        elif any(one.first <= inside[-1] and inside[0] <= one.last for one in found):
            _note(notes, "Spans that overlap a longer one, which are left out", example)
        else:
            if words[inside[0]][0] < span.start or words[inside[-1]][1] > span.end:
                _note(notes, "Spans that begin or end within a word, which are extended to the whole word", example)
            found.append(Entity(span.label, inside[0], inside[-1]))
    return [text[start:end] for start, end in words], make_tags(found, len(words), "BIO")


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each word: a sequence without spaces, a punctuation mark, or a Chinese character."""
    start = 0
    for i, char in enumerate(f"{text} "):
        is_alone = is_punctuation(char) or is_chinese(char)
        if is_alone or char.isspace():
            if start < i:
                yield start, i
            if is_alone:
                yield i, i + 1
            start = i + 1


def _span(item: Any, text: str, where: str) -> _Span:
    start: Any
    end: Any
    if isinstance(item, Mapping):
        start, end, label = (
            next((item[name] for name in names if name in item), None) for names in (_STARTS, _ENDS, _LABELS)
        )
        label = label[0] if isinstance(label, list) and label else label
    else:
        start, end, label = (*item, None, None, None)[:3]
    are_integers = all(isinstance(one, int) and not isinstance(one, bool) for one in (start, end))
    if not are_integers or not isinstance(label, str) or not label:
        raise BadRow(f"{shown(item)} in {where} is not a span: a span has start, end and label, as in [0, 4, 'PER'].")
    if not 0 <= start < end <= len(text):
        raise BadRow(f"The span {shown(item)} in {where} is not within its text of {len(text)} characters.")
    return _Span(start, end, label)


def _note(notes: Counter[str], what: str, example: str) -> None:
    """Count one more of a kind; the first one's example is kept."""
    notes[next((note for note in notes if note.startswith(what)), f"{what}, such as {example}")] += 1
