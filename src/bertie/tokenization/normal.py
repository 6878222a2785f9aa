"""Texts → their words in normal form, all texts of a block at once: passes over bytes instead of steps in Python."""

import re
from collections.abc import Sequence

from bertie.tokenization.characters import Characters, NotListed
from bertie.tokenization.remembering import Remembering

BETWEEN, NOT_READ = "\0", "\1"
"""The word that stands behind each text, and the one instead of characters that are not listed. Both are control
characters, which no normal form holds."""

_BEYOND_ASCII = re.compile(rb"([\x80-\xfe]+)")
# no byte of UTF-8
_BETWEEN = b"\xff"


class Normal:
    """Cleans, lower-cases and parts texts as ``characters`` says."""

    def __init__(self, characters: Characters) -> None:
        self._beyond_ascii = _Runs(characters)
        forms = [characters[code] for code in range(128)]
        ascii_forms = [(form.strip() or " ").encode() for form in forms]
        self._table = b"".join(ascii_forms) + bytes(range(128, 256))
        self._dropped = bytes(code for code, form in enumerate(forms) if not form)
        self._signs = [(form.strip().encode(), form.encode()) for form in forms if form.strip() not in ("", form)]

    def words(self, texts: Sequence[str]) -> list[str]:
        """Return the words of all texts; behind those of each text follows `BETWEEN`."""
        raw = _BETWEEN.join([*map(str.encode, texts), b""]).translate(self._table, self._dropped)
        for sign, parted in self._signs:
            raw = raw.replace(sign, parted)
        if not all(map(str.isascii, texts)):
            parts = _BEYOND_ASCII.split(raw)
            parts[1::2] = map(self._beyond_ascii.__getitem__, parts[1::2])
            raw = b"".join(parts)
        return raw.replace(_BETWEEN, f" {BETWEEN} ".encode()).decode().split()


class _Runs(Remembering[bytes, bytes]):
    """Neighbouring characters beyond ASCII → their normal form, both in UTF-8."""

    def __init__(self, characters: Characters) -> None:
        super().__init__()
        self._characters = characters

    def work_out(self, key: bytes) -> bytes:
        try:
            return key.decode().translate(self._characters).encode()
        except NotListed:
            return f" {NOT_READ} ".encode()
