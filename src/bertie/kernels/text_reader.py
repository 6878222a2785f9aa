"""Texts → rows of ids as BERT's tokenizer makes them, by the kernel of wordpiece.h."""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from ctypes import c_char_p, c_int, c_int32, c_long, c_ubyte, c_uint32, c_void_p
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels import library
from bertie.memory import LARGE_PAGE, large_pages

Array = NDArray[np.int64]
_EDGE, _ID, _LINE, _LINE_SPANS = 8, 4, 64, 3 * 7  # bytes of a place in each table
_FEW_LINES, _MORE_LINES = 1 << 12, {1 << 17: 1 << 15, 1 << 20: 1 << 18}
"""Of the cache of runs of characters that one call at a time is lent, at first, and from so many characters on. A line
holds one run, or two short ones."""
_PADDING = "\0" * (64 + 32)
"""What the kernel may look at behind texts."""
_AT_A_TIME = 1 << 16
"""Characters of texts that are read together."""
_UNLIMITED = 1 << 62
_MEMORIES = 16
"""Calls at a time whose memories are kept."""
_LONGEST_WORD = 100
"""Tokens of a word, at most: one of more characters is unknown."""
_CHARACTERS_A_TOKEN = 8
"""Where the beginning or end of a much longer text is kept, so many characters a token are read at first."""
_OTHER_COUNT = -2  # as in wordpiece_rows.h


class _Forbidden(ctypes.Structure):
    _fields_ = (("written", c_uint32), ("normal", c_uint32), ("reads_all", c_int), ("begins", c_ubyte * 256))


class _WordPiece(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("pages", "entries", "forms", "edges", "ids")),
        *((name, c_long) for name in ("num_edges", "num_used")),
        *((name, c_int32) for name in ("unknown", "parts_ideographs")),
        ("forbidden", _Forbidden * 2),
        ("kinds", c_ubyte * 256),
    )


class _Rows(ctypes.Structure):
    _fields_ = (
        *((name, c_char_p) for name in ("before", "behind")),
        *((name, c_long) for name in ("num_before", "num_behind", "most", "enough")),
        *((name, c_int) for name in ("keeps_last", "which")),
        *((name, c_void_p) for name in ("ids", "spans")),
        ("capacity", c_long),
        *((name, c_void_p) for name in ("kept", "found", "lines", "run_spans")),
        ("num_lines", c_long),
    )


class Cut(NamedTuple):
    """What rows are made of: the ids around each text, and which of its tokens are kept."""

    before: bytes = b""  # int64
    behind: bytes = b""
    most: int | None = None
    keeps_last: bool = False
    counted: int | None = None  # the most of those that are not kept that are counted; None: all of them


class Read(NamedTuple):
    """Rows side by side."""

    ids: Array  # [T] int64
    kept: Array  # [B] int64, tokens of each text in its row; -1 where the text was not read and has no row
    found: Array  # [B] int64, tokens of each text, as far as they were counted; -1 likewise
    # [T, 3]: the first character of each token, the one behind its last, and the number of its word, if asked for
    spans: NDArray[np.int32] | None


@lru_cache(maxsize=1)
def functions() -> ctypes.CDLL | None:
    """Return the library with the functions of this kernel, or None where it was not compiled."""
    found = library.loaded()
    if found is None or not hasattr(found, "bertie_wordpiece_size"):
        return None
    found.bertie_wordpiece_size.restype = c_long
    if found.bertie_wordpiece_size() != ctypes.sizeof(_WordPiece) + ctypes.sizeof(_Rows):
        return None
    found.bertie_wordpiece_fill.argtypes = [c_void_p, c_char_p, c_long, c_void_p, c_long]
    found.bertie_wordpiece_forbid.argtypes = [c_void_p, c_int, c_int, c_char_p, c_long]
    found.bertie_wordpiece_read.argtypes = [c_void_p, c_char_p, c_long, c_long, c_void_p]
    found.bertie_wordpiece_read.restype = c_long
    return found


class TextReader:
    """Reads texts. It never changes once it is made, so threads may share it: what one remembers of runs of characters
    is lent to one call at a time.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        unknown: int,  # the id of words without pieces
        characters: Sequence[NDArray[Any]],  # pages, entries and forms, of `bertie.tokenization.characters`
        parts_ideographs: bool,
        # two choices of what texts must not hold to be read: as it is written, and as a part of a word's normal form
        forbidden: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
        longest: int = 0,  # characters of what is forbidden, with all that goes with a part of a normal form
    ) -> None:
        self._characters, self._unknown = characters, unknown
        self._parts_ideographs = parts_ideographs
        room = 3 * len(vocabulary) + sum(len(words) for choice in forbidden for words in choice)
        while not self._filled(vocabulary, forbidden, room):
            room *= 2
        self._address = ctypes.addressof(self._wordpiece)
        self._longest = max(_LONGEST_WORD, longest)
        self._memories: list[_Memory] = []

    def _filled(
        self, tokens: Mapping[str, int], forbidden: Sequence[tuple[Sequence[str], Sequence[str]]], room: int
    ) -> bool:
        """Make the tables; False if they need more than ``room`` for edges."""
        kernel: Any = functions()
        self._edges, self._ids = _table(room, _EDGE), _table(room, _ID)
        addresses = map(_address, [*self._characters, self._edges, self._ids])
        numbers = {"unknown": self._unknown, "parts_ideographs": self._parts_ideographs}
        self._wordpiece = _WordPiece(*addresses, len(self._edges), **numbers)
        place = ctypes.byref(self._wordpiece)
        joined, ids = _joined(tokens), np.fromiter(tokens.values(), np.int32, len(tokens))
        found = _OTHER_COUNT
        if "" not in tokens:
            found = kernel.bertie_wordpiece_fill(place, joined, len(joined), _address(ids), len(ids))
        if found < 0:  # no word is empty, and no text holds a NUL
            tokens = {token: id_ for token, id_ in tokens.items() if token and "\0" not in token}
            return self._filled(tokens, forbidden, room)
        if not found:
            return False
        for which, choice in enumerate(forbidden):
            for is_normal, words in enumerate(choice):
                joined = _joined(words)
                if words and not kernel.bertie_wordpiece_forbid(place, which, is_normal, joined, len(joined)):
                    return False
        return True

    def read(self, texts: Sequence[str], cut: Cut, which: int = 0, with_spans: bool = False) -> Read:
        """Return the rows of texts; of a long text that is cut, a part is read that is enough."""
        if cut.most is None or cut.counted is None:
            return self._read(texts, cut, _UNLIMITED, which, with_spans)
        wanted = cut.most + cut.counted
        # where reading stops, a word, or a token that was added, may go on and be made of other tokens
        enough = wanted + self._longest
        parts, size = texts, _CHARACTERS_A_TOKEN * enough
        if max(map(len, texts), default=0) > 2 * size:
            begin, stop = (-size, None) if cut.keeps_last else (0, size)
            parts = [text[begin:stop] if len(text) > 2 * size else text for text in texts]
        rows = self._read(parts, cut, _UNLIMITED if cut.keeps_last else enough, which, with_spans)
        for number, (part, text) in enumerate(zip(parts, texts, strict=True)):
            if part is not text and rows.found[number] < enough:
                return self._read(texts, cut, _UNLIMITED, which, with_spans)
        return rows._replace(found=np.minimum(rows.found, wanted))

    def _read(self, texts: Sequence[str], cut: Cut, enough: int, which: int, with_spans: bool) -> Read:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        memory = self._memories.pop() if self._memories else _Memory()
        memory.expect(int(lengths.sum()))
        rows = memory.rows
        rows.before, rows.behind = cut.before, cut.behind
        rows.num_before, rows.num_behind = len(cut.before) // 8, len(cut.behind) // 8
        rows.most, rows.enough = _UNLIMITED if cut.most is None else cut.most, enough
        rows.keeps_last, rows.which = cut.keeps_last, which
        room = _Room(lengths, rows.num_before + rows.num_behind, with_spans)
        for some in slices_of(lengths, _AT_A_TIME):
            self._read_some(texts[some], room, rows)
        if len(self._memories) < _MEMORIES:
            self._memories.append(memory)
        return room.read()

    def _read_some(self, texts: Sequence[str], room: "_Room", rows: _Rows) -> None:
        kernel: Any = functions()
        size = _OTHER_COUNT
        for some in (texts, (text.replace("\0", "\1") for text in texts)):  # both are dropped
            raw = "\0".join([*some, _PADDING]).encode()
            if len(raw) >= 2**31:
                raise InputError(f"A text has {len(raw)} bytes; they must be fewer than 2 GiB. Give it in parts.")
            room.lend(rows, len(raw), len(texts))
            size = kernel.bertie_wordpiece_read(
                self._address, raw, len(raw) - len(_PADDING), len(texts), ctypes.byref(rows)
            )
            if size != _OTHER_COUNT:
                break
        if size < 0:
            raise MemoryError("The rows of some texts have no room.")
        room.size += size
        room.texts += len(texts)


class _Memory:
    """What one call at a time is lent: the runs of characters that were met before, and the call's rows."""

    def __init__(self) -> None:
        self._characters = 0
        self._make_lines(_FEW_LINES)

    def _make_lines(self, count: int) -> None:
        self._lines, self._spans = _zeros(count * _LINE), _zeros(count * _LINE_SPANS)
        self.rows = _Rows(lines=_address(self._lines), run_spans=_address(self._spans), num_lines=count)

    def expect(self, characters: int) -> None:
        """Have room for the runs of more text."""
        self._characters += characters
        wanted = max((lines for size, lines in _MORE_LINES.items() if self._characters > size), default=0)
        if self.rows.num_lines < wanted:
            self._make_lines(wanted)


class _Room:
    """Where the kernel writes: the rows of ``texts`` texts, ``size`` ids by now."""

    def __init__(self, lengths: Array, framed: int, with_spans: bool) -> None:
        self.size = self.texts = 0
        self._framed, self._expected = framed, int(lengths.sum()) + framed * len(lengths)
        self._ids, self._counts = np.empty(0, np.int64), np.empty((2, len(lengths)), np.int64)
        self._spans = np.empty((0, 3), np.int32) if with_spans else None

    def lend(self, rows: _Rows, size: int, texts: int) -> None:
        """Point ``rows`` to room for the next texts of ``size`` bytes: a token is a byte or more."""
        wanted = self.size + size + self._framed * texts
        if wanted > len(self._ids):
            # of all texts, tokens are hardly ever more than the characters; memory that isn't used costs nothing
            self._resize(wanted if texts == self._counts.shape[1] else 2 * self.size + size + self._expected)
        rows.ids, rows.capacity = _address(self._ids) + 8 * self.size, len(self._ids) - self.size
        rows.kept, rows.found = (_address(counts) + 8 * self.texts for counts in self._counts)
        rows.spans = None if self._spans is None else _address(self._spans) + 12 * self.size

    def _resize(self, size: int) -> None:
        ids, spans = self._ids, self._spans
        self._ids = np.empty(size, np.int64)
        self._ids[: self.size] = ids[: self.size]
        if spans is not None:
            self._spans = np.empty((size, 3), np.int32)
            self._spans[: self.size] = spans[: self.size]

    def read(self) -> Read:
        """Return all rows; what they don't fill is given back."""
        self._ids.resize(self.size, refcheck=False)
        if self._spans is not None:
            self._spans.resize((self.size, 3), refcheck=False)
        kept, found = self._counts
        return Read(self._ids, kept, found, self._spans)


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _joined(words: Any) -> bytes:
    return "\0".join([*words, ""]).encode("utf-8", "surrogatepass")


def _table(entries: int, size: int) -> NDArray[np.uint8]:
    """Return an empty hash table that has places for twice as many entries, or nearly so."""
    places = 1 << max(entries, 8).bit_length()
    return _zeros(places * size).reshape(places, size)


def _zeros(size: int) -> NDArray[np.uint8]:
    """Return bytes from a cache line on. A processor that looks here and there remembers where few pages lie."""
    if size >= LARGE_PAGE:
        return large_pages(size)
    memory = np.zeros(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :][:size]


def slices_of(lengths: Array, size: int) -> Iterator[slice]:
    """Yield slices of neighbouring texts that have about ``size`` characters together."""
    if len(lengths) == 1:
        yield slice(0, 1)
        return
    ends = np.cumsum(lengths)
    stops = np.searchsorted(ends, np.arange(size, ends[-1] if len(ends) else 0, size)) + 1
    for start, stop in pairwise(dict.fromkeys([0, *stops.tolist(), len(lengths)])):
        yield slice(start, stop)
