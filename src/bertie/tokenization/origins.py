"""The alignment of a normalized text with the original, for any normalization."""

import re
import unicodedata
from collections.abc import Callable, Iterator

from bertie.tokenization.pieces import Span

Normalize = Callable[[str], str]


def original_spans(text: str, normalize: Normalize) -> list[Span]:
    """Return the characters ``(start, end)`` of ``text`` from which each character of ``normalize(text)`` comes."""
    chunks = (found.span() for found in re.finditer(r"\s+|\S+", text))
    return [span for start, stop in chunks for span in _spans_within(text, start, stop, normalize)]


def _spans_within(text: str, start: int, stop: int, normalize: Normalize) -> list[Span]:
    chunk = text[start:stop]
    whole = normalize(chunk)
    sizes = {char: len(normalize(char)) for char in set(chunk)}
    if sum(map(sizes.__getitem__, chunk)) == len(whole):
        return [(start + i, start + i + 1) for i, char in enumerate(chunk) for _ in range(sizes[char])]
    parts = list(_independent_parts(chunk, normalize))
    if len(parts) > 1:
        found = [span for a, b in parts for span in _spans_within(text, start + a, start + b, normalize)]
        if len(found) == len(whole):
            return found
    # without the dropped characters at the end
    while whole and not sizes[text[stop - 1]] and not unicodedata.combining(text[stop - 1]):
        stop -= 1
    return [(start, stop)] * len(whole)


def _independent_parts(text: str, normalize: Normalize) -> Iterator[Span]:
    """Yield the smallest parts of a text whose normal forms, concatenated, are the text's."""
    start = 0
    for i in range(1, len(text)):
        before, char = text[start:i], text[i]
        # a dropped character belongs to what precedes it: its neighbours may be composed across it
        alone = "" if unicodedata.combining(char) else normalize(char)
        if alone and normalize(before + char) == normalize(before) + alone:
            yield start, i
            start = i
    yield start, len(text)
