"""Which texts hold an added token: those are cut by ``tokenizers``, which knows all the rules for such tokens."""

import re
from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, normalizers

from bertie.tokenization.characters import Characters, NotListed


class AddedTokens:
    """Finds at least every text that holds one of the tokens.

    Most tokens have no space in them, so whatever stands between two spaces can be looked at alone (`in_chunk`), once.
    The few that have one are looked for in whole texts (`in_text`).
    """

    def __init__(
        self, tokens: Iterable[AddedToken], characters: Characters, normalizer: normalizers.BertNormalizer
    ) -> None:
        self._normalizer = normalizer
        self._written, self._normal = _Contents(), _Contents()
        spaced = []
        for token in tokens:
            # a token that is `normalized` is looked for after lower-casing and stripping accents
            content = normalizer.normalize_str(token.content) if token.normalized else token.content
            if content and content.split() != [content]:
                spaced.append(r"\s+".join(map(re.escape, content.split())) or r"\s")
            elif not token.normalized:
                self._written.add(content)
            else:
                try:
                    self._normal.add(token.content.translate(characters).strip())
                except NotListed:
                    continue  # a text that holds it holds a character that is not listed
        self._spaced = re.compile("|".join(spaced)) if spaced else None

    def in_chunk(self, chunk: str, normal: str) -> bool:
        """Whether a chunk of a text may hold a token without spaces; ``normal`` is the chunk's normal form."""
        return self._written.any_in(chunk) or (len(self._normal) > 0 and self._normal.any_in(normal))

    def in_text(self, text: str | Sequence[str]) -> bool:
        """Whether a text (or one of a list of words) may hold a token with spaces."""
        if self._spaced is None:
            return False
        if not isinstance(text, str):
            return any(map(self.in_text, text))
        return bool(self._spaced.search(text) or self._spaced.search(self._normalizer.normalize_str(text)))


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
