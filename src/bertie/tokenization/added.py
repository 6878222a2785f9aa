"""Which texts hold an added token: those are cut by ``tokenizers``, which knows all the rules for such tokens."""

import re
from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, normalizers

from bertie.tokenization.characters import Characters, NotListed
from bertie.tokenization.remembering import Remembering

NOT_SPACES = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
"""Spaces to Python, nothing to BERT: a text with one of them is a single chunk. All other white space is the same."""


class AddedTokens:
    """Finds at least every text that holds one of the tokens.

    Most tokens have no space in them, so whatever stands between two spaces can be looked at alone, once (`_Chunks`),
    and if they are looked for as they are written, only in texts with their first characters. The few that have
    a space are looked for in whole texts.
    """

    def __init__(
        self, tokens: Iterable[AddedToken], characters: Characters, normalizer: normalizers.BertNormalizer
    ) -> None:
        self._normalizer = normalizer
        written, normal, spaced = _Contents(), _Contents(), []
        for token in tokens:
            # a token that is `normalized` is looked for after lower-casing and stripping accents
            content = normalizer.normalize_str(token.content) if token.normalized else token.content
            if content and content.split() != [content]:
                spaced.append(r"\s+".join(map(re.escape, content.split())) or r"\s")
            elif not token.normalized:
                written.add(content)
            else:
                try:
                    normal.add(token.content.translate(characters).strip())
                except NotListed:
                    continue  # a text that holds it holds a character that is not listed
        self._chunks = _Chunks(characters, written, normal)
        self._spaced = re.compile("|".join(spaced)) if spaced else None
        # a text in which no token even begins holds none; None: every text must be looked at
        begins = {re.escape(content[:2]) for content in written}
        self._begins = None if normal or spaced else re.compile("|".join(begins) or "(?!)")

    def found_in(self, texts: Sequence[str | Sequence[str]], whole: Sequence[str]) -> list[int]:
        """Return the numbers of the texts that may hold a token; ``whole`` has lists of words joined to texts."""
        if self._begins and not self._begins.search("".join(whole)):
            return []
        return [number for number, text in enumerate(texts) if self._in_text(text)]

    def _in_text(self, text: str | Sequence[str]) -> bool:
        if not isinstance(text, str):
            return any(map(self._in_text, text))
        if self._begins and not self._begins.search(text):
            return False
        if self._spaced and (self._spaced.search(text) or self._spaced.search(self._normalizer.normalize_str(text))):
            return True
        chunks = [text] if any(map(text.__contains__, NOT_SPACES)) else text.split()
        return any(map(self._chunks.__getitem__, chunks))


class _Chunks(Remembering[str, bool]):
    """Whether what stands between two spaces of a text may hold a token."""

    def __init__(self, characters: Characters, written: "_Contents", normal: "_Contents") -> None:
        super().__init__()
        self._characters = characters
        self._written, self._normal = written, normal

    def work_out(self, key: str) -> bool:
        if self._written.any_in(key):
            return True
        try:
            return bool(self._normal) and self._normal.any_in(key.translate(self._characters))
        except NotListed:
            return True


class _Contents(set[str]):
    """What is looked for, with its first characters and its lengths, so that thousands of tokens cost no more."""

    def __init__(self) -> None:
        super().__init__()
        self._firsts: set[str] = set()
        self._lengths: set[int] = set()

    def add(self, content: str) -> None:
        if content:
            super().add(content)
            self._firsts.add(content[0])
            self._lengths.add(len(content))

    def any_in(self, text: str) -> bool:
        if self._firsts.isdisjoint(text):
            return False
        starts = [place for place, char in enumerate(text) if char in self._firsts]
        return any(text[start : start + length] in self for start in starts for length in self._lengths)
