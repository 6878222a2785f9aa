"""Texts → words → ids, without Rust, many texts at a time: `Normal` makes words of them, `WordIds` ids of words."""

from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TypeAlias

import numpy as np

from bertie.tokenization.added import AddedTokens
from bertie.tokenization.characters import Characters
from bertie.tokenization.normal import NOT_READ, Normal
from bertie.tokenization.pieces import Block, Ids, KnownPieces, LatePieces, Pieces
from bertie.tokenization.remembering import Remembering
from bertie.tokenization.word_table import BETWEEN_ID, WordIds
from bertie.tokenization.wordpiece import WordPiece

Text: TypeAlias = str | Sequence[str]
AT_A_TIME = 1 << 17
"""Characters of texts that are read together."""
FEW_TEXTS, FEW_CHARACTERS = 16, 1000
"""Up to so many texts of so many characters together are read one by one."""


class WordCuts(Remembering[str, tuple[list[str], bytes]]):
    """Word → the tokens of its pieces, and how many characters each has, as int64."""

    def __init__(self, wordpiece: WordPiece) -> None:
        super().__init__()
        self._wordpiece = wordpiece

    def work_out(self, key: str) -> tuple[list[str], bytes]:
        parts = self._wordpiece.cut(key)
        if not parts:
            return [self._wordpiece.unk_token], array("q", [len(key)]).tobytes()
        return [parts[0], *("##" + part for part in parts[1:])], array("q", map(len, parts)).tobytes()


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

    def read(self, texts: Sequence[Text]) -> Iterator[tuple[Sequence[Pieces], list[int]]]:
        """Yield the pieces of some texts, and the numbers of those among them that ``tokenizers`` must read."""
        if len(texts) <= FEW_TEXTS and sum(map(len, texts)) <= FEW_CHARACTERS:
            yield self._one_by_one(texts)
        else:
            for some in _in_turn(texts):
                yield self._side_by_side(texts[some])

    def _one_by_one(self, texts: Sequence[Text]) -> tuple[list[Pieces], list[int]]:
        """Read a few texts, for which NumPy's calls would cost more than they save."""
        found: list[Pieces] = []
        others = []
        for number, text in enumerate(texts):
            whole = _whole(text)
            words = self._normal.words(self._normal.form([whole])[:-1])
            if NOT_READ in words or self._added.found_in([text], [whole]):
                others.append(number)
            found.append(LatePieces(self._ids_of.of_few(words), partial(self._places, text)))
        return found, others

    def _side_by_side(self, texts: Sequence[Text]) -> tuple[Block, list[int]]:
        whole = list(map(_whole, texts))
        form = self._normal.form(whole)
        ids = self._ids_of.of(form, *self._normal.parted(form))
        marks = np.flatnonzero(ids < 0)
        between = ids[marks] == BETWEEN_ID
        stops = marks[between]
        starts = np.concatenate((np.zeros(1, np.int64), stops[:-1] + 1))
        others = set(self._added.found_in(texts, whole))
        if not between.all():
            others.update(np.searchsorted(stops, marks[~between]).tolist())

        def pieces(number: int, ids: Ids) -> Pieces:
            return LatePieces(ids, partial(self._places, texts[number]))

        return Block(ids, starts, stops, pieces), sorted(others)

    def _places(self, text: Text) -> KnownPieces:
        """Return all that is known of the pieces of a text, but their ids."""
        whole = _whole(text)
        normal = whole.translate(self._characters)
        cuts = [self._cuts_of[word] for word in normal.split()]
        tokens = list(chain.from_iterable(tokens for tokens, _ in cuts))
        stops = np.cumsum(np.frombuffer(b"".join([sizes for _, sizes in cuts]), np.int64))
        origins = self._characters.origins(whole, normal)
        lasts = origins[stops - 1]
        firsts = origins[np.concatenate((np.zeros(1, np.int64), stops[:-1]))[: len(stops)]]
        if isinstance(text, str):
            numbers = np.repeat(np.arange(len(cuts)), [len(tokens) for tokens, _ in cuts])
        else:
            begins = np.cumsum([0, *(len(word) + 1 for word in text)])
            numbers = np.searchsorted(begins, firsts, "right") - 1
            firsts, lasts = firsts - begins[numbers], lasts - begins[numbers]
        offsets = list(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))
        return KnownPieces(array("q"), tokens, offsets, list(numbers.tolist()))


def _whole(text: Text) -> str:
    return text if isinstance(text, str) else " ".join(text)


def _in_turn(texts: Sequence[Text]) -> Iterator[slice]:
    """Yield the places of neighbouring texts of about `AT_A_TIME` characters together."""
    start = size = 0
    for stop, text in enumerate(texts, 1):
        size += len(text) if isinstance(text, str) else sum(map(len, text))
        if size >= AT_A_TIME or stop == len(texts):
            yield slice(start, stop)
            start, size = stop, 0
