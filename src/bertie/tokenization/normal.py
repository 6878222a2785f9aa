"""Texts → the words of their normal form, all texts of a block at once: passes over bytes, not steps in Python."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bertie.tokenization.characters import Characters, NotListed
from bertie.tokenization.pieces import Array
from bertie.tokenization.remembering import Remembering

BETWEEN, NOT_READ = b"\0", b"\1"
"""The word that stands behind each text, and the one instead of characters that are not listed. Both are control
characters, which no normal form holds."""

_NO_BYTE_OF_UTF_8 = b"\xff"
_BLANK, _LETTER, _SIGN = range(3)
"""What a byte is: no part of a word, a part of one, or a word by itself."""


class Normal:
    """Cleans, lower-cases and parts texts as ``characters`` says."""

    def __init__(self, characters: Characters) -> None:
        self._beyond_ascii = _Runs(characters)
        forms = [characters[code] for code in range(128)]
        self._dropped = bytes(code for code, form in enumerate(forms) if not form)
        normal = b"".join((form.strip() or " ").encode() for form in forms)
        self._table = normal + bytes(range(128, 255)) + BETWEEN
        signs = {form.strip().encode() for form in forms if form.strip() not in ("", form)} | {BETWEEN, NOT_READ}
        kinds = dict.fromkeys(b"".join(signs), _SIGN) | {ord(" "): _BLANK}
        self._kinds = bytes(kinds.get(code, _LETTER) for code in range(256))
        sign = re.escape(b"".join(signs))
        self._word = re.compile(b"[^ %b]+|[%b]" % (sign, sign))

    def form(self, texts: Sequence[str]) -> bytes:
        """Return the normal form of all texts in UTF-8, `BETWEEN` behind each; signs are not parted from words yet."""
        form = _NO_BYTE_OF_UTF_8.join([*map(str.encode, texts), b""]).translate(self._table, self._dropped)
        if form.isascii():
            return form
        beyond = np.flatnonzero(np.frombuffer(form, np.int8) < 0)
        gaps = np.flatnonzero(np.diff(beyond) > 1)
        starts = beyond[np.concatenate(([0], gaps + 1))]
        stops = beyond[np.concatenate((gaps, [-1]))] + 1
        bounds = [0, *np.stack((starts, stops), 1).ravel().tolist(), len(form)]
        parts = [form[start:stop] for start, stop in pairwise(bounds)]
        parts[1::2] = map(self._beyond_ascii.__getitem__, parts[1::2])
        return b"".join(parts)

    def words(self, form: bytes) -> list[bytes]:
        """Return the words of a normal form; the quick way for few of them."""
        return self._word.findall(form)

    def parted(self, form: bytes) -> tuple[Array, Array]:
        """Return where the words of a normal form start and stop, each ``[W]`` int64."""
        kinds = np.frombuffer(b"".join((bytes(1), form.translate(self._kinds), bytes(1))), np.uint8)
        before, after = kinds[:-1], kinds[1:]
        edges = (before != after) | (after == _SIGN)
        return np.flatnonzero(edges & (after != _BLANK)), np.flatnonzero(edges & (before != _BLANK))


class _Runs(Remembering[bytes, bytes]):
    """Neighbouring characters beyond ASCII → their normal form, both in UTF-8."""

    def __init__(self, characters: Characters) -> None:
        super().__init__()
        self._characters = characters

    def work_out(self, key: bytes) -> bytes:
        try:
            return key.decode().translate(self._characters).encode()
        except NotListed:
            return NOT_READ
