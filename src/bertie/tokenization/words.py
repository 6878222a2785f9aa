"""Texts → words → ids, without Rust: the ids of every word are remembered from its last time.

Texts are read some at a time: `Normal` makes words of them, `WordPiece` pieces of a word. Ids are int64 side by side
from here on: those of a text are the bytes of its words, joined.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from bertie.tokenization.added import AddedTokens
from bertie.tokenization.characters import Characters
from bertie.tokenization.normal import BETWEEN, NOT_READ, Normal
from bertie.tokenization.pieces import Block, Ids, KnownPieces, LatePieces
from bertie.tokenization.remembering import Remembering
from bertie.tokenization.wordpiece import WordPiece

AT_A_TIME = 1 << 17
"""Characters of texts that are read together."""
_MARKS = {BETWEEN: -1, NOT_READ: -2}


class WordIds(Remembering[str, bytes]):
    """Word → the ids of its pieces; the marks between words have ids of their own."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def work_out(self, key: str) -> bytes:
        ids = [_MARKS[key]] if key in _MARKS else self._wordpiece.ids(key)
        return array("q", ids).tobytes()


class WordCuts(Remembering[str, tuple[list[str], bytes]]):
    """Word → the tokens of its pieces, and how many characters each has, as int64."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def work_out(self, key: str) -> tuple[list[str], bytes]:
        parts = self._wordpiece.cut(key) or [key]
        return self._wordpiece.tokens(key), array("q", map(len, parts)).tobytes()


class Words:
    """Reads texts, or texts that are lists of words.

    Args:
        characters: the normal form of each character.
        normal: the normal form of texts.
        added: the tokens that must not be cut.
        ids_of: the ids of a word.
        cuts_of: the pieces of a word.
    """

    def __init__(
        self, characters: Characters, normal: Normal, added: AddedTokens, ids_of: WordIds, cuts_of: WordCuts
    ) -> None:
        self._characters = characters
        self._normal = normal
        self._added = added
        self._ids_of = ids_of
        self._cuts_of = cuts_of

    def blocks(self, texts: Sequence[str | Sequence[str]]) -> Iterator[tuple[Block, list[int]]]:
        """Yield the pieces of some texts, and the numbers of those among them that ``tokenizers`` must read."""
        for some in _in_turn(texts):
            yield self._block(texts[some])

    def _block(self, texts: Sequence[str | Sequence[str]]) -> tuple[Block, list[int]]:
        whole = [text if isinstance(text, str) else " ".join(text) for text in texts]
        found = map(self._ids_of.__getitem__, self._normal.words(whole))
        ids = np.frombuffer(b"".join(found), np.int64)
        marks = np.flatnonzero(ids < 0)
        between = ids[marks] == _MARKS[BETWEEN]
        stops = marks[between]
        starts = np.concatenate((np.zeros(1, np.int64), stops[:-1] + 1))
        others = set(self._added.found_in(texts, whole))
        if not between.all():
            others.update(np.searchsorted(stops, marks[~between]).tolist())

        def pieces(number: int, ids: Ids) -> LatePieces:
            return LatePieces(ids, lambda: self._places(texts[number]))

        return Block(ids, starts, stops, pieces), sorted(others)

    def _places(self, text: str | Sequence[str]) -> KnownPieces:
        """Return all that is known of the pieces of a text, but their ids."""
        if isinstance(text, str):
            return self._places_in_text(text)
        known = KnownPieces(array("q"), [], [], [])
        for number, word in enumerate(text):
            places = self._places_in_text(word)
            known.tokens.extend(places.tokens)
            known.offsets.extend(places.offsets)
            known.word_ids.extend([number] * len(places.tokens))
        return known

    def _places_in_text(self, text: str) -> KnownPieces:
        cuts = [self._cuts_of[word] for word in text.translate(self._characters).split()]
        tokens = list(chain.from_iterable(tokens for tokens, _ in cuts))
        counts = [len(tokens) for tokens, _ in cuts]
        stops = np.cumsum(np.frombuffer(b"".join([sizes for _, sizes in cuts]), np.int64))
        origins = self._characters.origins(text)
        ends = origins[stops - 1] + 1
        firsts = origins[np.concatenate((np.zeros(1, np.int64), stops[:-1]))[: len(stops)]]
        offsets = list(zip(firsts.tolist(), ends.tolist(), strict=True))
        return KnownPieces(array("q"), tokens, offsets, list(np.repeat(np.arange(len(cuts)), counts).tolist()))


def _in_turn(texts: Sequence[str | Sequence[str]]) -> Iterator[slice]:
    """Yield the places of neighbouring texts of about `AT_A_TIME` characters together."""
    start = size = 0
    for stop, text in enumerate(texts, 1):
        size += len(text) if isinstance(text, str) else sum(map(len, text))
        if size >= AT_A_TIME or stop == len(texts):
            yield slice(start, stop)
            start, size = stop, 0
