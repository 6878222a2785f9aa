"""Characters on a page: which may stand in a file, how wide they are, and which way they run."""

import html
import unicodedata
from itertools import pairwise

ZERO_WIDTH_JOINER = "\u200d"
NO_WIDTH = ("Mn", "Me", "Cf")
WIDE = ("W", "F")
# a skin tone changes the emoji before it
SKIN_TONES = range(0x1F3FB, 0x1F400)


def printable(text: str) -> str:
    """Return ``text`` with every character that HTML and XML forbid replaced by one that shows what it was."""
    return "".join(map(_printable, text))


def escaped(text: str) -> str:
    """Return ``text`` as it may stand between tags and within quotes."""
    return html.escape(printable(text), quote=True)


def shortened(text: str, length: int) -> str:
    """Return ``text``, or the beginning of it and an ellipsis, at most ``length`` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def cells(text: str) -> int:
    """Return the width of ``text`` in columns of a terminal: 2 for a wide character, 0 for a combining one."""
    return sum(_cell(before, char) for before, char in pairwise(" " + text))


def is_right_to_left(text: str) -> bool | None:
    """Return whether the first character of ``text`` with a direction runs from right to left; None without one."""
    for char in text:
        direction = unicodedata.bidirectional(char)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return None


def _printable(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return char if char in "\t\n\r" else chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    forbidden = 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE
    return "\ufffd" if forbidden else char


def _cell(before: str, char: str) -> int:
    if before == ZERO_WIDTH_JOINER or ord(char) in SKIN_TONES or unicodedata.category(char) in NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in WIDE else 1
