"""Which characters of a text those of its normal form come from, whatever normalises it."""

import unicodedata
from collections.abc import Callable, Iterator

from bertie.tokenization.pieces import Span

Form = Callable[[str], str]


def spans_of(text: str, form: Form) -> list[Span]:
    """Return, for each character of ``form(text)``, the characters ``(start, stop)`` of ``text`` that it comes from."""
    whole = form(text)
    alone = [len(form(char)) for char in text]
    if sum(alone) == len(whole):
        return [(place, place + 1) for place, size in enumerate(alone) for _ in range(size)]
    parts = list(_independent(text, form))
    spans = [(0, len(text))] * len(whole)
    if len(parts) > 1:
        found = [
            (start + first, start + last) for start, stop in parts for first, last in spans_of(text[start:stop], form)
        ]
        spans = found if len(found) == len(whole) else spans
    return spans


def _independent(text: str, form: Form) -> Iterator[Span]:
    """Yield the smallest parts of a text that are normalised side by side as they are alone."""
    start = 0
    for place in range(1, len(text)):
        before, char = text[start:place], text[place]
        if not unicodedata.combining(char) and form(before + char) == form(before) + form(char):
            yield start, place
            start = place
    yield start, len(text)
