"""The normal form of each character, in a table made from the output of the package ``tokenizers``.

Python's own Unicode tables are not used, as their version differs. A text is normalized character by character:
cleaning, lower-casing and splitting look at one character at a time, and so does stripping accents, except for the few
marks that are kept and reordered among each other. Those are unlisted: ``tokenizers`` reads a text with one of them.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LETTER, DROPPED, BLANK, SIGN, IDEOGRAPH, UNLISTED = range(6)
"""Kinds, as in wordpiece.h: part of a word, dropped, white space, a word of its own (punctuation), a word of its own if
Chinese characters are split, and left to ``tokenizers``."""
PAGE = 256
VARIANTS = ((False, False), (False, True), (True, False), (True, True))
"""Whether the table lower-cases, and whether it strips accents."""


class Characters(NamedTuple):
    """``entries[pages[code // PAGE] * PAGE + code % PAGE]`` is the entry of a code point. From the lowest bit, it has 3
    bits for the kind, 5 for the number of characters that replace it (0: unchanged), and 24 for that character or, if
    there are several, for their index in ``forms``.
    """

    pages: NDArray[np.uint16]
    entries: NDArray[np.uint32]
    forms: NDArray[np.uint32]


@lru_cache(maxsize=1)
def _tables() -> Characters:
    with np.load(Path(__file__).with_name("characters.npz"), allow_pickle=False) as arrays:
        return Characters(arrays["pages"], arrays["entries"], arrays["forms"])


def characters(lower_case: bool, strip_accents: bool) -> Characters:
    """Return the table of a tokenizer with these options."""
    tables = _tables()
    return tables._replace(pages=tables.pages[VARIANTS.index((lower_case, strip_accents))])
