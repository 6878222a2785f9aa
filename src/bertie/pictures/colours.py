"""The colours of pictures, for light and dark pages, distinguishable with any kind of colour vision."""

import re
import zlib
from typing import NamedTuple

from bertie.errors import InputError

# each has a contrast of at least 3:1 with its page, and any two are far apart for every kind of colour vision
# (tests/pictures)
LIGHT = ("#153e85", "#299056", "#85260c", "#d026bd", "#9d841b", "#808b98")
DARK = ("#3d7fff", "#5cf0a0", "#dd4526", "#c955ae", "#ffcf3a", "#d5e6f7")
LINES = ("solid", "dashed", "dotted")
PAPER = ("#ffffff", "#14181d")
TEXT = ("#1c2127", "#e4e8ec")
# of attention weights; on a dark page the style sheet brightens the first into the second
INK = ("#1f78c8", "#2eb4ff")
FAINT = ("#59636e", "#9aa4af")

# entity types that have fixed colours
_KNOWN = (
    ("PER", "PERS", "PERSON"),
    ("LOC", "LOCATION", "GPE"),
    ("ORG", "ORGANIZATION", "ORGANISATION"),
    ("MISC", "MISCELLANEOUS"),
    ("DATE", "TIME"),
)
_SLOT_OF = {name: slot for slot, names in enumerate(_KNOWN) for name in names}
_PREFIX = re.compile(r"^[BIOESLU]-")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


class Look(NamedTuple):
    """How entities of one type are drawn: a colour of the palette, or the user's own, and an underline style."""

    colour: int
    line: str
    custom: str | None = None


def look_of(label: str) -> Look:
    """Return how a type of entity looks: the same in every picture, whatever other types it shows."""
    name = _PREFIX.sub("", label.upper())
    slot = _SLOT_OF.get(name)
    if slot is None:
        slot = len(_KNOWN) + zlib.crc32(name.encode("utf-8", "replace")) % (len(LIGHT) * len(LINES) - len(_KNOWN))
    return Look(slot % len(LIGHT), LINES[slot // len(LIGHT)])


def check_colour(label: str, colour: object) -> str:
    """Return a colour that the user gave, or refuse it."""
    if not isinstance(colour, str) or not _HEX.fullmatch(colour):
        raise InputError(f"colors gives {label!r} the colour {colour!r:.40}; write it as '#rrggbb', such as '#0072b2'.")
    return colour
