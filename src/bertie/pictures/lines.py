"""Texts with marked spans as a drawing: words are set in lines here, because SVG breaks no lines.

A word's width is that of its columns in a font of fixed pitch, and ``textLength`` holds every program to it: marks
fit their words whatever font there is.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

from bertie.pictures.colours import Look
from bertie.pictures.lettering import cells, escaped, is_right_to_left, printable
from bertie.pictures.picture import drawing

SIZE, COLUMN = 14, 8.4
TAG_SIZE, TAG_COLUMN = 9, 5.6
TAG_GAP = 4.0  # on either side
WIDTH, MARGIN, LINE = 760.0, 16, 26
CUT = 4  # letters of a part of a word that no line can hold
ISOLATE, END = "\u2067", "\u2069"  # around letters of a text from right to left
_WORD = re.compile(r"\S+")


class Span(NamedTuple):
    """Characters ``start:end``, the tag that stands after them, and how both look."""

    start: int
    end: int
    tag: str
    look: Look


@dataclass(frozen=True)
class Piece:
    """A word, or as much of one as lies within one span; or a span's tag."""

    text: str
    span: Span | None
    spaced: bool  # a space stands before it
    is_tag: bool = False

    @property
    def width(self) -> float:
        columns = cells(self.text)
        return columns * TAG_COLUMN + 2 * TAG_GAP if self.is_tag else columns * COLUMN

    @property
    def is_right_to_left(self) -> bool | None:
        return None if self.is_tag else is_right_to_left(self.text)


Line = list[Piece]
Placed = tuple[float, Piece]


def lettered(title: str, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> tuple[str, float]:
    """Return a drawing of texts one below the other, and its height."""
    parts, y = [], float(MARGIN)
    for text, found in zip(texts, spans, strict=True):
        from_right = bool(is_right_to_left(text))
        for paragraph in _paragraphs(text, found):
            for line in _lines(paragraph):
                parts.append(_line(_placed(line, from_right), y, from_right))
                y += LINE
        y += LINE / 2
    return drawing(WIDTH + 2 * MARGIN, y, title, "".join(parts)), y


def _paragraphs(text: str, spans: Sequence[Span]) -> Iterator[Line]:
    """Yield the pieces of each paragraph; a blank one has none."""
    text, start = printable(text), 0
    for paragraph in re.split(r"\r\n?|\n", text):
        end = start + len(paragraph)
        yield list(_pieces(text, start, end, spans))
        start = end + (2 if text[end : end + 2] == "\r\n" else 1)


def _pieces(text: str, start: int, end: int, spans: Sequence[Span]) -> Iterator[Piece]:
    for word in _WORD.finditer(text, start, end):
        first = bisect_right(spans, word.start(), key=attrgetter("end"))
        after = bisect_left(spans, word.end(), key=attrgetter("start"))
        yield from _of_word(text, word.start(), word.end(), word.start() > start, spans[first:after])


def _of_word(text: str, start: int, end: int, spaced: bool, touching: Sequence[Span]) -> Iterator[Piece]:
    """Yield a word cut at the borders of the spans that touch it, with the tag of each that ends in it."""
    borders = sorted({start, end, *(min(max(place, start), end) for span in touching for place in span[:2])})
    for left, right in pairwise(borders):
        span = next((one for one in touching if one.start <= left and right <= one.end), None)
        yield Piece(text[left:right], span, spaced and left == start)
        if span is not None and not text[right : span.end].strip():
            yield Piece(printable(span.tag), span, False, is_tag=True)


def _lines(pieces: Sequence[Piece]) -> Iterator[Line]:
    """Yield lines no wider than the page; a blank paragraph is a blank line."""
    line: Line = []
    room = WIDTH
    for word in _words(pieces):
        width = sum(piece.width for piece in word)
        if line and COLUMN + width > room and not _may_be_cut(word):
            yield line
            line, room = [], WIDTH
        for piece in _cut(word, room):
            gap = COLUMN if piece.spaced and line else 0
            if line and gap + piece.width > room:
                yield line
                line, room, gap = [], WIDTH, 0
            line.append(piece)
            room -= gap + piece.width
    yield line


def _words(pieces: Iterable[Piece]) -> Iterator[Line]:
    word: Line = []
    for piece in pieces:
        if piece.spaced and word:
            yield word
            word = []
        word.append(piece)
    if word:
        yield word


def _may_be_cut(word: Line) -> bool:
    """Return whether a word is wider than a line, or of a script that knows no spaces."""
    wide = any(cells(piece.text) > len(piece.text) for piece in word)
    return wide or sum(piece.width for piece in word) > WIDTH


def _cut(word: Line, room: float) -> Line:
    """Return a word that is wider than the room left on the line in parts of a few letters."""
    if sum(piece.width for piece in word) + COLUMN <= room or not _may_be_cut(word):
        return word
    return [part for piece in word for part in ([piece] if piece.is_tag else _parts(piece))]


def _parts(piece: Piece) -> Iterator[Piece]:
    clusters = re.findall(r".(?:[\u0300-\u036f\ufe00-\ufe0f]|\u200d.)*", piece.text, re.DOTALL)
    for start in range(0, len(clusters), CUT):
        yield replace(piece, text="".join(clusters[start : start + CUT]), spaced=piece.spaced and start == 0)


def _placed(line: Line, from_right: bool) -> list[Placed]:
    """Return the pieces from left to right with their places: runs against the text's direction are turned round.

    A simple form of the Unicode algorithm, by words: what has no direction follows what stands before it.
    """
    runs, direction = [], from_right
    for piece in line:
        own = piece.is_right_to_left
        direction = direction if own is None else own
        runs.append(direction)
    order: list[int] = []
    for turned, run in groupby(range(len(line)), key=lambda place: runs[place] != from_right):
        places = list(run)
        order += reversed(places) if turned else places
    if from_right:
        order.reverse()
    x, placed = 0.0, []
    for before, place in zip([None, *order], order, strict=False):
        x += _gap(line, before, place)
        placed.append((x, line[place]))
        x += line[place].width
    shift = MARGIN + (WIDTH - x if from_right else 0.0)
    return [(left + shift, piece) for left, piece in placed]


def _gap(line: Line, before: int | None, place: int) -> float:
    if before is None:
        return 0.0
    together = abs(before - place) == 1 and not line[max(before, place)].spaced
    return 0.0 if together else COLUMN


def _line(placed: Sequence[Placed], y: float, from_right: bool) -> str:
    marks = "".join(
        _mark(span, list(run), y) for span, run in groupby(placed, key=lambda one: one[1].span) if span is not None
    )
    return marks + "".join(_text(x, piece, y, from_right) for x, piece in placed)


def _mark(span: Span, run: Sequence[Placed], y: float) -> str:
    left, right = run[0][0] - 2, run[-1][0] + run[-1][1].width + 2
    look = span.look
    kind, own = f"k{look.colour}", f' style="fill:{look.own};stroke:{look.own}"' if look.own else ""
    return (
        f'<rect class="{kind}"{own} x="{left:.1f}" y="{y:g}" width="{right - left:.1f}" height="21" rx="3" '
        f'fill-opacity="0.18" stroke-width="0"/><path class="{kind} {look.line}"{own} '
        f'd="M{left:.1f} {y + 21:g}H{right:.1f}" stroke-width="2"/>\n'
    )


def _text(x: float, piece: Piece, y: float, from_right: bool) -> str:
    if piece.is_tag:
        size, x, width, more = TAG_SIZE, x + TAG_GAP, piece.width - 2 * TAG_GAP, ' font-weight="bold"'
    else:
        size, width, more = SIZE, piece.width, ""
    text = escaped(f"{ISOLATE}{piece.text}{END}" if from_right else piece.text)
    fit = f' textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"' if len(piece.text) > 1 and width else ""
    return f'<text x="{x:.1f}" y="{y + 15:g}" font-size="{size}"{more}{fit}>{text}</text>\n'
