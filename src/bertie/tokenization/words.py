"""Common text without Rust: cut into words by one regular expression, each word's pieces remembered from its last time.

Only texts made of the characters listed here are taken; a test checks every one of them against ``tokenizers``.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise

from bertie.tokenization.encoding import KnownPieces, Span
from bertie.tokenization.wordpiece import MAX_WORD, WordPiece

SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~‘’“”–—…«»¿¡·•§¶"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ACCENTED = "àáâãäåçèéêëìíîïñòóôõöùúûüýÿÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝ"
UNACCENTED = "aaaaaaceeeeiiiinooooouuuuyyAAAAAACEEEEIIIINOOOOOUUUUY"
NOT_SPACES = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
"""Spaces to Python, nothing to BERT. All other white space is the same to both."""
REMEMBERED = 1 << 16
"""Words that are remembered; when there are more, all are forgotten."""


class NotListed(Exception):
    """The text holds a character that is not listed here, so ``tokenizers`` must cut it."""


class Words(dict[str, tuple[int, ...]]):
    """What stands between spaces → ids of its pieces, for text of listed characters.

    Looking up what is new works out its pieces: words and signs are parted, then cut.

    Args:
        wordpiece: cuts a word into pieces.
        lower: capitals are read as small letters.
        strip: accents are left out.
    """

    def __init__(self, wordpiece: WordPiece, lower: bool, strip: bool) -> None:
        super().__init__()
        self._wordpiece = wordpiece
        self._cuts: dict[str, tuple[Sequence[str], Sequence[int]]] = {}
        self._lower = lower
        self._unaccent = str.maketrans(ACCENTED, UNACCENTED) if strip else None
        letters = LETTERS + ("" if lower else CAPITALS)
        if not strip:
            letters += "".join(char for char in ACCENTED if not lower or char.islower())
        self._parts = re.compile(f"[{letters}]+|[{re.escape(SIGNS)}]")
        self._listed = re.compile(f"[{letters}{re.escape(SIGNS)}]+")

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        normal = self.normal(chunk)
        if not self._listed.fullmatch(normal):
            raise NotListed(chunk[:1])
        vocabulary = self._wordpiece.vocabulary
        parts = self._parts.findall(normal)
        ids = tuple(vocabulary[token] for part in parts for token in self._wordpiece.tokens(part))
        if len(chunk) <= MAX_WORD:
            if len(self) >= REMEMBERED:
                self.clear()
            self[chunk] = ids
        return ids

    def ids(self, text: str) -> list[int]:
        """Return the ids of the pieces of ``text``.

        Raises:
            NotListed: it holds a character that is not listed here.
        """
        if NOT_SPACES.search(text):
            raise NotListed(text)
        return list(chain.from_iterable(map(self.__getitem__, text.split())))

    def places(self, text: str) -> tuple[list[str], list[Span], list[int | None]]:
        """Return tokens, characters and word number of each piece of a text whose ids were found."""
        tokens: list[str] = []
        offsets: list[Span] = []
        word_ids: list[int | None] = []
        for number, match in enumerate(self._parts.finditer(self.normal(text))):
            pieces, stops = self._cuts_of(match[0])
            start = match.start()
            if len(stops) == 1:
                offsets.append(match.span())
            else:
                offsets += [(start + first, start + last) for first, last in pairwise((0, *stops))]
            tokens += pieces
            word_ids += [number] * len(pieces)
        return tokens, offsets, word_ids

    def _cuts_of(self, word: str) -> tuple[Sequence[str], Sequence[int]]:
        """Return a word's pieces and where each of them ends."""
        cuts = self._cuts.get(word)
        if cuts is None:
            pieces = self._wordpiece.tokens(word)
            ends = accumulate(len(piece) - (2 if index else 0) for index, piece in enumerate(pieces))
            cuts = pieces, list(ends) if pieces != [self._wordpiece.unk_token] else [len(word)]
            if len(word) <= MAX_WORD:
                if len(self._cuts) >= REMEMBERED:
                    self._cuts.clear()
                self._cuts[word] = cuts
        return cuts

    def normal(self, text: str) -> str:
        """Return ``text`` in small letters without accents, as far as that was asked for."""
        # every listed character becomes exactly one, so that places in the result are places in the text
        if self._unaccent and not text.isascii():
            text = text.translate(self._unaccent)
        return text.lower() if self._lower else text


class WordPieces:
    """The pieces of one text (or of one list of words) that `Words` has cut; places are worked out when asked for."""

    __slots__ = ("_known", "_text", "_words", "ids")

    def __init__(self, words: Words, text: str | Sequence[str]) -> None:
        self._words = words
        self._text = text
        parts: Iterable[list[int]] = [words.ids(text)] if isinstance(text, str) else map(words.ids, text)
        self.ids: list[int] = list(chain.from_iterable(parts))
        self._known: KnownPieces | None = None

    @property
    def tokens(self) -> list[str]:
        return self._places().tokens

    @property
    def offsets(self) -> list[Span]:
        return self._places().offsets

    @property
    def word_ids(self) -> list[int | None]:
        return self._places().word_ids

    def __reduce__(self) -> tuple[type[KnownPieces], tuple[object, ...]]:
        known = self._places()
        return KnownPieces, (known.ids, known.tokens, known.offsets, known.word_ids)

    def _places(self) -> KnownPieces:
        if self._known is None:
            if isinstance(self._text, str):
                self._known = KnownPieces(self.ids, *self._words.places(self._text))
            else:
                self._known = self._places_in_words(self._text)
        return self._known

    def _places_in_words(self, text: Sequence[str]) -> KnownPieces:
        known = KnownPieces(self.ids, [], [], [])
        for number, word in enumerate(text):
            tokens, offsets, _ = self._words.places(word)
            known.tokens.extend(tokens)
            known.offsets.extend(offsets)
            known.word_ids.extend([number] * len(tokens))
        return known
