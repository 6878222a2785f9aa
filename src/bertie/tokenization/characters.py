"""What each character becomes before a text is cut into words: asked of ``tokenizers`` itself, one by one."""

import numpy as np
from tokenizers import normalizers, pre_tokenizers

from bertie.tokenization.pieces import Array
from bertie.tokenization.remembering import Remembering

# two marks that stay where accents are stripped, but are put in order: one goes behind others, one before them
_LATE, _EARLY = "\U0001d16d", "\u1b44"


class NotListed(Exception):
    """``tokenizers`` must read the text, because of a character that depends on its neighbours, or an added token."""


class Characters(Remembering[int, str]):
    """Code point → normal form, for `str.translate`: what parts words becomes a blank, punctuation stands between two.

    No table of Python's takes part, whose Unicode is another one. A normal text is that of its characters, side by
    side: cleaning, lower-casing and parting look at one character each, and so does stripping accents, but for the
    few marks that stay and are put in order among each other. Those are not listed.
    """

    def __init__(self, normalizer: normalizers.BertNormalizer) -> None:
        super().__init__()
        self._normalize = normalizer.normalize_str
        self._part = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
        self._sizes = _Sizes(self)

    def work_out(self, key: int) -> str:
        char = chr(key)
        normal: str = self._normalize(char)
        if normal and self._normalize(_LATE + char + _EARLY) != _LATE + normal + _EARLY:
            raise NotListed(char)
        return " ".join(part for part, _ in self._part(f"a{normal}a"))[1:-1]

    def origins(self, text: str, normal: str) -> Array:
        """Return the place in ``text`` of each character of its ``normal`` form that is no blank, int64."""
        sizes = np.frombuffer(text.translate(self._sizes).encode("latin-1"), np.uint8)
        codes = np.frombuffer(normal.encode("utf-32-le"), np.uint32)
        return np.repeat(np.arange(len(text)), sizes)[codes != ord(" ")]


class _Sizes(Remembering[int, str]):
    """Code point → the character whose code is the size of the normal form."""

    def __init__(self, characters: Characters) -> None:
        super().__init__()
        self._characters = characters

    def work_out(self, key: int) -> str:
        return chr(len(self._characters[key]))
