"""The alignment of words and their pieces: word labels to pieces, piece scores to words, words to characters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.tasks.arrays import Array, Integers, ranges
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.pieces import Pieces, Span

LABEL_PIECES = ("first", "all")
MERGES = ("first", "average", "max")


@dataclass(frozen=True, eq=False)
class Alignment:
    """The words of one text and which of its T pieces are theirs. W words have pieces; a control character has none."""

    numbers: Integers  # [W] int64 ascending, the words that have pieces
    firsts: Integers  # [W], the first piece of each
    stops: Integers  # [W], one past the last piece of each
    num_words: int  # words of the text, with and without pieces
    num_pieces: int  # T

    @classmethod
    def of(cls, word_ids: Sequence[int | None], num_words: int | None = None) -> "Alignment":
        """Return the alignment from the word number of each piece; ``num_words`` is known if the text came as words."""
        ids = np.array([-1 if word is None else word for word in word_ids], np.int64)
        begins = np.flatnonzero(np.diff(ids, prepend=-2))
        stops = np.append(begins[1:], len(ids))
        real = ids[begins] >= 0
        numbers = ids[begins[real]]
        seen = int(numbers[-1]) + 1 if len(numbers) else 0
        if num_words is not None and seen > num_words:
            raise InputError(f"A text of {num_words} words has a piece of word {seen - 1}; give the text's own words.")
        return cls(numbers, begins[real], stops[real], seen if num_words is None else num_words, len(ids))

    @cached_property
    def without_pieces(self) -> list[int]:
        """The words without pieces: cut off, or only control characters."""
        return np.setdiff1d(np.arange(self.num_words), self.numbers).tolist()

    def piece_labels(self, labels: Sequence[int] | Integers, which: str = "first") -> Integers:
        """Return the label of each piece ``[T]``: its word's on ``which`` pieces of the word, else `IGNORED`."""
        if which not in LABEL_PIECES:
            raise InputError(f"label_pieces is {which!r}; allowed are 'first' (a word's first piece) and 'all'.")
        if len(labels) != self.num_words:
            raise InputError(f"A text has {self.num_words} words and {len(labels)} labels; each word needs one.")
        sizes = np.ones_like(self.firsts) if which == "first" else self.stops - self.firsts
        found = np.full(self.num_pieces, IGNORED, np.int64)
        found[ranges(self.firsts, sizes)] = np.repeat(np.asarray(labels, np.int64)[self.numbers], sizes)
        return found

    def word_scores(self, scores: Array, how: str = "first") -> Array:
        """Return the scores ``[W, C]`` of the words that have pieces, from those of the pieces ``[T, C]``.

        ``"first"`` takes a word's first piece, ``"average"`` the mean over its pieces (of probabilities), ``"max"`` the
        piece whose best label has the highest score.
        """
        if how not in MERGES:
            raise InputError(f"Piece scores are merged by {', '.join(MERGES)}, not {how!r}.")
        if how == "first" or not len(self.firsts):
            return scores[self.firsts]
        sizes = self.stops - self.firsts
        mine = scores[ranges(self.firsts, sizes)]
        begins = np.cumsum(sizes) - sizes
        if how == "average":
            return np.add.reduceat(mine, begins) / sizes[:, None].astype(scores.dtype)
        highest = mine.max(axis=1)
        is_best = highest == np.repeat(np.maximum.reduceat(highest, begins), sizes)
        places = np.where(is_best, np.arange(len(mine)), len(mine))
        return mine[np.minimum.reduceat(places, begins)]

    def word_spans(self, offsets: Sequence[Span]) -> Integers:
        """Return the character spans ``[W, 2]`` (start, stop) of the words that have pieces."""
        characters = np.array(offsets, np.int64).reshape(-1, 2)
        return np.stack((characters[self.firsts, 0], characters[self.stops - 1, 1]), axis=1)


class Group(NamedTuple):
    """One input with its rows: their numbers, their encodings, and the text as the task read it."""

    rows: range
    encodings: list[Encoding]
    text: Any

    @property
    def pieces(self) -> Pieces:
        """All pieces of the input's last text."""
        return self.encodings[0].windows[-1].pieces

    @property
    def read(self) -> slice:
        """The pieces that are in a row, not cut off."""
        return slice(self.encodings[0].windows[-1].start, self.encodings[-1].windows[-1].stop)

    @property
    def words(self) -> Alignment:
        """The words of the whole text, including what was cut off."""
        return Alignment.of(self.pieces.word_ids, len(self.text) if isinstance(self.text, list) else None)


def words_read(groups: Sequence[Group]) -> tuple[Alignment, Integers]:
    """Return the alignment of N texts' words with the pieces in rows, and each text's first word ``[N + 1]``."""
    begins = np.cumsum([0, *(group.words.num_words for group in groups)])
    ids: list[int | None] = []
    for group, begin in zip(groups, begins.tolist(), strict=False):
        ids += [None if word is None else begin + word for word in group.pieces.word_ids[group.read]]
    return Alignment.of(ids, int(begins[-1])), begins


def joined_offsets(
    offsets: Sequence[Span], word_ids: Sequence[int | None], words: Sequence[str], delimiter: str = " "
) -> list[Span]:
    """Return the character spans of pieces in ``delimiter.join(words)`` from those within their words."""
    begins = np.cumsum([0, *(len(word) + len(delimiter) for word in words)]).tolist()
    shifts = [0 if word is None else begins[word] for word in word_ids]
    return [(start + shift, stop + shift) for (start, stop), shift in zip(offsets, shifts, strict=True)]


def continuing_prefix(tokenizer: Any) -> str | None:
    """Return the prefix of pieces that continue a word; None: there is none. Other libraries' are taken for BERT's."""
    return getattr(tokenizer, "continuing_subword_prefix", "##")


def continuation_mask(tokenizer: Any, size: int = 0) -> NDArray[np.bool_]:
    """Return which of the tokenizer's ids, at least ``size`` of them, are pieces that continue a word."""
    vocabulary, prefix = tokenizer.get_vocab(), continuing_prefix(tokenizer) or ""
    found = np.zeros(max(size, len(tokenizer), 1 + max(vocabulary.values(), default=0)), np.bool_)
    found[[number for word, number in vocabulary.items() if word.startswith(prefix)]] = True
    return found
