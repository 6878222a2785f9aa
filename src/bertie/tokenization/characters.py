"""What each character becomes before words are cut to pieces: a table, made once by asking ``tokenizers`` itself.

No table of Python's takes part, whose Unicode is another one. A normal text is that of its characters, side by side:
cleaning, lower-casing and parting look at one character each, and so does stripping accents, but for the few marks that
stay and are put in order among each other. Those are not listed: a text with one of them is read by ``tokenizers``.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LETTER, DROPPED, BLANK, SIGN, IDEOGRAPH, UNLISTED = range(6)
"""Kinds, as in wordpiece.h: a part of a word, nothing, what parts words, a word of its own, one if Chinese characters
are parted, and what only ``tokenizers`` can read."""
PAGE = 256
VARIANTS = ((False, False), (False, True), (True, False), (True, True))
"""Whether a table lower-cases, and whether it strips accents."""


class Characters(NamedTuple):
    """``entries[pages[code // PAGE] * PAGE + code % PAGE]`` is what becomes of a code point, in the order of bits:
    3 its kind, 5 how many characters are written instead (0: it stays), 24 that character, or where in ``forms`` they
    are."""

    pages: NDArray[np.uint16]
    entries: NDArray[np.uint32]
    forms: NDArray[np.uint32]


@lru_cache(maxsize=1)
def _tables() -> Characters:
    with np.load(Path(__file__).with_name("characters.npz"), allow_pickle=False) as arrays:
        return Characters(arrays["pages"], arrays["entries"], arrays["forms"])


def characters(lower_case: bool, strip_accents: bool) -> Characters:
    """Return the table of a tokenizer."""
    tables = _tables()
    return tables._replace(pages=tables.pages[VARIANTS.index((lower_case, strip_accents))])
