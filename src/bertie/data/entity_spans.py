"""Entities by characters of a text → words and tags; what does not fit is counted, with an example."""

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
    end: int  # the first character behind it
    label: str


def are_spans(items: Sequence[Any]) -> bool:
    """Whether items are spans of characters, ``[start, end, label]`` or mappings of these; none are, too."""
    return all(isinstance(one, list | tuple | Mapping) for one in items)


def tagged_words(text: str, items: Sequence[Any], where: str, notes: Counter[str]) -> tuple[list[str], list[str]]:
    """Return the words of a text, as BERT's tokenizer parts them, and their tags in BIO; what does not fit is noted."""
    words = [(start, end) for start, end in _words(text) if has_content(text[start:end])]
    found: list[Entity] = []
    for span in sorted({_span(one, text, where) for one in items}, key=lambda span: (span.start - span.end, span)):
        inside = [place for place, (start, end) in enumerate(words) if start < span.end and end > span.start]
        example = f"{text[span.start : span.end]!r:.60} ({span.label}) in {where}"
        if not inside:
            _note(notes, "Spans without a word, which are left out", example)
        elif any(one.first <= inside[-1] and inside[0] <= one.last for one in found):
            _note(notes, "Spans that overlap a longer one, which are left out", example)
        else:
            if words[inside[0]][0] < span.start or words[inside[-1]][1] > span.end:
                _note(notes, "Spans that begin or end within a word, which take in all of it", example)
            found.append(Entity(span.label, inside[0], inside[-1]))
    return [text[start:end] for start, end in words], make_tags(found, len(words), "BIO")


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Yield the characters of each word: a run of them without spaces, a sign, or a Chinese character."""
    start = 0
    for place, char in enumerate(f"{text} "):
        is_alone = is_punctuation(char) or is_chinese(char)
        if is_alone or char.isspace():
            if start < place:
                yield start, place
            if is_alone:
                yield place, place + 1
            start = place + 1


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
    are_places = all(isinstance(one, int) and not isinstance(one, bool) for one in (start, end))
    if not are_places or not isinstance(label, str) or not label:
        raise BadRow(f"{shown(item)} in {where} is not a span: a span has start, end and label, as in [0, 4, 'PER'].")
    if not 0 <= start < end <= len(text):
        raise BadRow(f"The span {shown(item)} in {where} does not lie in its text of {len(text)} characters.")
    return _Span(start, end, label)


def _note(notes: Counter[str], what: str, example: str) -> None:
    """Count one more of a kind; the first is the example."""
    notes[next((note for note in notes if note.startswith(what)), f"{what}, such as {example}")] += 1
