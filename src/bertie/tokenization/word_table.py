"""Words → ids, many at once and exactly: a hash table in NumPy, and behind it WordPiece for words it has not met."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bertie.tokenization import remembering
from bertie.tokenization.forking import LEARNING
from bertie.tokenization.normal import BETWEEN, NOT_READ
from bertie.tokenization.pieces import Array, Ids
from bertie.tokenization.wordpiece import WordPiece

Keys = NDArray[np.uint64]
BETWEEN_ID, NOT_READ_ID = -1, -2
"""What stands among the ids for the words `BETWEEN` and `NOT_READ`."""
_MANY = -3
"""The code of a word of several pieces is this or less; that of any other word is its id."""
_WIDEST = 16
"""Bytes of the longest word that the hash table takes: its key is the word itself, in two numbers."""
_LONGEST = 4 * remembering.LONGEST
_BITS = 18
_AT_A_TIME = 1 << 14


class WordIds:
    """Texts' words → their ids. What is remembered of words is bounded."""

    def __init__(self, wordpiece: WordPiece) -> None:
        self._wordpiece = wordpiece
        self._table = WordTable(wordpiece)

    def of(self, form: bytes, starts: Array, stops: Array) -> Array:
        """Return the ids of the words ``form[start:stop]``, UTF-8, side by side; int64."""
        form += bytes(_WIDEST)
        parts = [np.zeros(0, np.int64)]
        for first in range(0, len(starts), _AT_A_TIME):
            some = slice(first, first + _AT_A_TIME)
            parts.append(self._table_with_room().ids(form, starts[some], stops[some]))
        return np.concatenate(parts)

    def of_few(self, words: Sequence[bytes]) -> Ids:
        """Return the ids of a few words, side by side."""
        return self._table_with_room().ids_of_few(words)

    def _table_with_room(self) -> "WordTable":
        table = self._table
        if len(table) >= remembering.MOST:
            table = self._table = WordTable(self._wordpiece)
        return table


class WordTable:
    """Knows the vocabulary, and every word it has met. Threads may share one.

    A key has two places in the hash table and lies in the first that was free. Words that found none, and long ones,
    are looked up in a dict.
    """

    def __init__(self, wordpiece: WordPiece) -> None:
        self._wordpiece = wordpiece
        self._codes: dict[bytes, int] = {BETWEEN: BETWEEN_ID, NOT_READ: NOT_READ_ID}
        self._pieces, self._bounds = array("q"), array("q", [0])
        self._is_filled = False

    def _fill(self) -> None:
        """Make the hash table, of the vocabulary; few words are looked up without it."""
        # a free place is that of the word `BETWEEN`, whose key is 0
        self._first, self._second = np.zeros((2, 1 << _BITS), np.uint64)
        self._code = np.full(1 << _BITS, BETWEEN_ID, np.int64)
        # no word holds a NUL
        vocabulary = {token: id_ for token, id_ in self._wordpiece.vocabulary.items() if token and "\0" not in token}
        raw = "\0".join([*vocabulary, ""]).encode()
        stops = np.flatnonzero(np.frombuffer(raw, np.uint8) == 0)
        starts = np.concatenate((np.zeros(1, np.int64), stops[:-1] + 1))[: len(stops)]
        ids = np.fromiter(vocabulary.values(), np.int64, len(stops))
        short = np.flatnonzero(stops - starts <= _WIDEST)
        self._insert(*_keys(raw + bytes(_WIDEST), starts[short], (stops - starts)[short]), ids[short])
        self._is_filled = True

    def __len__(self) -> int:
        return len(self._codes)

    def ids(self, form: bytes, starts: Array, stops: Array) -> Array:
        """As `WordIds.of`; behind the words are `_WIDEST` more bytes."""
        with LEARNING:
            if not self._is_filled:
                self._fill()
        codes = self._look_up(form, starts, stops)
        many = np.flatnonzero(codes <= _MANY)
        if not len(many):
            return codes
        with LEARNING:
            pieces, bounds = np.array(self._pieces), np.array(self._bounds)
        which = _MANY - codes[many]
        counts = np.ones(len(codes), np.int64)
        counts[many] = sizes = bounds[which + 1] - bounds[which]
        ids = np.repeat(codes, counts)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        places = within + np.repeat(np.cumsum(counts)[many] - sizes, sizes)
        ids[places] = pieces[within + np.repeat(bounds[which], sizes)]
        return ids

    def ids_of_few(self, words: Sequence[bytes]) -> Ids:
        """As `WordIds.of_few`."""
        ids = array("q")
        for word in words:
            code = self._codes.get(word)
            if code is None:
                with LEARNING:
                    code = self._code_of(word)
            if code > _MANY:
                ids.append(code)
            else:
                start, stop = self._bounds[_MANY - code : _MANY - code + 2]
                ids += self._pieces[start:stop]
        return ids

    def _look_up(self, form: bytes, starts: Array, stops: Array) -> Array:
        """Return the code of each word."""
        sizes = stops - starts
        first, second = _keys(form, starts, sizes)
        place = _place(first, second)
        # keys are read before codes, and written after them: another thread may learn these very words now
        rest = np.flatnonzero(~self._found(place, first, second) | (sizes > _WIDEST))
        codes = self._code[place]
        if len(rest):
            place = _other_place(first[rest], second[rest])
            unknown = ~self._found(place, first[rest], second[rest]) | (sizes[rest] > _WIDEST)
            codes[rest] = self._code[place]
            rest = rest[unknown]
        if len(rest):
            spans = zip(starts[rest].tolist(), stops[rest].tolist(), strict=True)
            with LEARNING:
                codes[rest] = [self._code_of(form[start:stop]) for start, stop in spans]
                short = rest[sizes[rest] <= _WIDEST]
                self._insert(first[short], second[short], codes[short])
        return codes

    def _found(self, place: Array, first: Keys, second: Keys) -> NDArray[np.bool_]:
        return (self._first[place] == first) & (self._second[place] == second)

    def _code_of(self, word: bytes) -> int:
        code = self._codes.get(word)
        if code is None:
            ids = self._wordpiece.ids(word.decode())
            code = ids[0]
            if len(ids) > 1:
                code = _MANY + 1 - len(self._bounds)
                self._pieces.extend(ids)
                self._bounds.append(len(self._pieces))
            if len(word) <= _LONGEST:
                self._codes[word] = code
        return code

    def _insert(self, first: Keys, second: Keys, codes: Array) -> None:
        for places in (_place, _other_place):
            place = places(first, second)
            free = self._code[place] == BETWEEN_ID
            # the key comes last: who finds it finds its code. Its first half, which is 0 in no word, ends it
            self._code[place[free]] = codes[free]
            self._second[place[free]] = second[free]
            self._first[place[free]] = first[free]
            left = ~self._found(place, first, second)
            first, second, codes = first[left], second[left], codes[left]


# by size: which of a key's two numbers' bytes belong to the word
_FIRST_MASKS = np.array([(1 << 8 * min(size, 8)) - 1 for size in range(_WIDEST + 1)], np.uint64)
_SECOND_MASKS = np.array([(1 << 8 * max(size - 8, 0)) - 1 for size in range(_WIDEST + 1)], np.uint64)
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_SHIFT = np.uint64(64 - _BITS)


def _keys(form: bytes, starts: Array, sizes: Array) -> tuple[Keys, Keys]:
    """Return the words' bytes as two numbers each; of a long word, those of its beginning."""
    # the eight bytes from each place on
    eights: Keys = np.ndarray((len(form) - 7,), np.uint64, form, 0, (1,))
    sizes = np.minimum(sizes, _WIDEST)
    return eights[starts] & _FIRST_MASKS[sizes], eights[starts + 8] & _SECOND_MASKS[sizes]


def _place(first: Keys, second: Keys) -> Array:
    return (((first * _FACTORS[0] ^ second * _FACTORS[1]) * _FACTORS[0]) >> _SHIFT).view(np.int64)


def _other_place(first: Keys, second: Keys) -> Array:
    return (((first * _FACTORS[2] ^ second * _FACTORS[0]) * _FACTORS[1]) >> _SHIFT).view(np.int64)
