"""Which characters of a text those of its normal form come from, whatever normalises it."""

import re
import unicodedata
from collections.abc import Callable, Iterator

from bertie.tokenization.pieces import Span

Form = Callable[[str], str]


def spans_of(text: str, form: Form) -> list[Span]:
    """Return, for each character of ``form(text)``, the characters ``(start, stop)`` of ``text`` that it comes from."""
    chunks = (found.span() for found in re.finditer(r"\s+|\S+", text))
    return [span for start, stop in chunks for span in _spans_within(text, start, stop, form)]


def _spans_within(text: str, start: int, stop: int, form: Form) -> list[Span]:
    chunk = text[start:stop]
    whole = form(chunk)
    sizes = {char: len(form(char)) for char in set(chunk)}
    if sum(map(sizes.__getitem__, chunk)) == len(whole):
        return [(start + place, start + place + 1) for place, char in enumerate(chunk) for _ in range(sizes[char])]
    parts = list(_independent(chunk, form))
    if len(parts) > 1:
        found = [span for a, b in parts for span in _spans_within(text, start + a, start + b, form)]
        if len(found) == len(whole):
            return found
    while whole and not sizes[text[stop - 1]] and not unicodedata.combining(text[stop - 1]):
        stop -= 1  # what is dropped behind it
    return [(start, stop)] * len(whole)


def _independent(text: str, form: Form) -> Iterator[Span]:
    """Yield the smallest parts of a text that are normalised side by side as they are alone."""
    start = 0
    for place in range(1, len(text)):
        before, char = text[start:place], text[place]
        # what is dropped stays with what it follows: other characters may meet over it
        alone = "" if unicodedata.combining(char) else form(char)
        if alone and form(before + char) == form(before) + alone:
            yield start, place
            start = place
    yield start, len(text)
