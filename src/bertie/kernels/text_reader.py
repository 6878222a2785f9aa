"""Texts → rows of ids as BERT's tokenizer makes them, by the kernel of wordpiece.h."""

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_int, c_int32, c_long, c_ubyte, c_uint32, c_void_p
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.kernels import library
from bertie.memory import LARGE_PAGE, large_pages

Array = NDArray[np.int64]
_EDGE, _ID, _LINE, _LINE_SPANS = 8, 4, 64, 3 * 7  # bytes of an entry in each table
_FEWEST_LINES, _MOST_LINES, _LINES_PER_RUN = 1 << 12, 1 << 18, 2
"""Size of a cache of runs: at first, at most, and up to that how many lines for each run in it."""
_PADDING = "\0" * (64 + 32)
"""The kernel may look at so many bytes past the texts."""
_BATCH_TOKENS, _FIRST_BATCH = 1 << 14, 32
"""Tokens of a batch, roughly, so that texts and ids stay in the processor's cache; texts of the first batch."""
_UNLIMITED = 1 << 62
_MEMORIES = 16
"""Caches that are kept for calls to come: one is lent to each of the calls that run at the same time."""
_LONGEST_WORD = 100
"""Tokens of a word, at most: a longer word is unknown."""
_CHARACTERS_PER_TOKEN = 8
"""How many characters of a long text are read at first for each token that is kept."""
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
        *((name, c_char_p) for name in ("prefix", "suffix")),
        *((name, c_long) for name in ("num_prefix", "num_suffix", "max_kept", "read_limit")),
        *((name, c_int) for name in ("keep_last", "which")),
        *((name, c_void_p) for name in ("ids", "spans")),
        ("capacity", c_long),
        *((name, c_void_p) for name in ("kept", "counted", "lines", "run_spans")),
        *((name, c_long) for name in ("num_lines", "num_runs")),
    )


class Cut(NamedTuple):
    """How rows are made: the ids around each text, and which of its tokens are kept."""

    prefix: bytes = b""  # int64
    suffix: bytes = b""
    max_kept: int | None = None
    keep_last: bool = False
    max_cut: int | None = None  # how many of the tokens that are cut are counted at most; None: all


class Read(NamedTuple):
    """The rows of several texts, concatenated."""

    ids: Array  # [T] int64
    kept: Array  # [B] int64, tokens of each text in its row; -1 if the text was not read and has no row
    counted: Array  # [B] int64, tokens of each text, as far as they were counted; -1 likewise
    # [T, 3], on request: each token's first character, the one after its last, and the index of its word
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
    found.bertie_wordpiece_move.argtypes = [c_void_p, c_void_p]
    return found


class TextReader:
    """Reads texts. Threads may share it: it never changes, and each call at a time is lent a cache of its own."""

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
        """Fill the tables; False if ``room`` is too little for the edges."""
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
        """Return the rows of texts; a long text that is truncated is read only as far as its row needs."""
        memory = self._memories.pop() if self._memories else _Memory()
        rows = memory.rows
        rows.prefix, rows.suffix = cut.prefix, cut.suffix
        rows.num_prefix, rows.num_suffix = len(cut.prefix) // 8, len(cut.suffix) // 8
        rows.max_kept, rows.read_limit = _UNLIMITED if cut.max_kept is None else cut.max_kept, _UNLIMITED
        rows.keep_last, rows.which = cut.keep_last, which
        output = _Output(len(texts), rows.num_prefix + rows.num_suffix, with_spans)
        start, count = 0, _FIRST_BATCH
        while start < len(texts):
            some = texts[start : start + count]
            if cut.max_kept is None or cut.max_cut is None:
                self._read_whole(some, memory, output)
            else:
                self._read_parts(some, cut.max_kept + cut.max_cut, memory, output)
            tokens = output.end_batch(len(some))
            memory.grow()
            start += len(some)
            count = max(1, count * _BATCH_TOKENS // max(tokens, _BATCH_TOKENS // 4))
        if len(self._memories) < _MEMORIES:
            self._memories.append(memory)
        return output.read()

    def _read_parts(self, texts: Sequence[str], wanted: int, memory: "_Memory", output: "_Output") -> None:
        """Read texts that are truncated: of a long one, first no more than will probably do."""
        rows = memory.rows
        # the word or added token at the end of a part may go on, and be other tokens then
        limit = wanted + self._longest
        size = _CHARACTERS_PER_TOKEN * limit
        parts = texts
        if max(map(len, texts)) > 2 * size:
            begin, stop = (-size, None) if rows.keep_last else (0, size)
            parts = [text[begin:stop] if len(text) > 2 * size else text for text in texts]
        rows.read_limit = _UNLIMITED if rows.keep_last else limit
        counted = self._read_whole(parts, memory, output)
        if any(one is not text and count < limit for one, text, count in zip(parts, texts, counted, strict=True)):
            rows.read_limit = _UNLIMITED
            counted = self._read_whole(texts, memory, output)
        np.minimum(counted, wanted, out=counted)

    def _read_whole(self, texts: Sequence[str], memory: "_Memory", output: "_Output") -> Array:
        """Write the rows of a batch of texts, and return how many tokens each of them has."""
        kernel: Any = functions()
        for some in (texts, (text.replace("\0", "\1") for text in texts)):  # either is dropped, but NUL ends a text
            raw = "\0".join([*some, _PADDING]).encode()
            if len(raw) >= 2**31:
                raise InputError(f"A text has {len(raw)} bytes; they must be fewer than 2 GiB. Give it in parts.")
            output.lend(memory.rows, len(raw), len(texts))
            output.size = kernel.bertie_wordpiece_read(
                self._address, raw, len(raw) - len(_PADDING), len(texts), ctypes.byref(memory.rows)
            )
            if output.size != _OTHER_COUNT:
                break
        if output.size < 0:
            raise MemoryError("There is no room for the rows of some texts.")
        return output.counted(len(texts))


class _Memory:
    """What one call at a time is lent: the cache of runs of characters, and the structure that the kernel is given."""

    def __init__(self) -> None:
        self.rows = _Rows()
        self._make_lines(_FEWEST_LINES)

    def _make_lines(self, count: int) -> None:
        self._lines, self._spans = _zeros(count * _LINE), _zeros(count * _LINE_SPANS)
        self.rows.lines, self.rows.run_spans, self.rows.num_lines = _address(self._lines), _address(self._spans), count
        self.rows.num_runs = 0

    def grow(self) -> None:
        """Enlarge the cache if it is getting full."""
        if self.rows.num_lines >= min(_LINES_PER_RUN * self.rows.num_runs, _MOST_LINES):
            return
        kernel: Any = functions()
        old, arrays = _Rows.from_buffer_copy(self.rows), (self._lines, self._spans)
        self._make_lines(min(_MOST_LINES, 4 * self.rows.num_lines))
        kernel.bertie_wordpiece_move(ctypes.byref(old), ctypes.byref(self.rows))
        del arrays  # the old cache


class _Output:
    """Where the kernel writes the rows of ``count`` texts; ``size`` is the number of ids of the current batch."""

    def __init__(self, count: int, framed: int, with_spans: bool) -> None:
        self.size = self._start = self._texts = 0
        self._framed, self._count = framed, count
        self._counts = np.empty((2, count), np.int64)
        self._ids, self._spans = np.empty(0, np.int64), np.empty((0, 3), np.int32) if with_spans else None
        self._places = [_address(counts) for counts in self._counts]

    def lend(self, rows: _Rows, size: int, texts: int) -> None:
        """Point ``rows`` to room for a batch of texts of ``size`` bytes; a token takes at least one."""
        wanted = self._start + size + self._framed * texts
        if wanted > len(self._ids):
            # twice what all texts need if the rest are like these: memory that is never touched costs nothing
            self._resize(2 * wanted * self._count // (self._texts + texts))
        kept, counted, ids, *spans = self._places
        rows.kept, rows.counted = kept + 8 * self._texts, counted + 8 * self._texts
        rows.ids, rows.capacity = ids + 8 * self._start, len(self._ids) - self._start
        rows.spans = spans[0] + 12 * self._start if spans else None

    def _resize(self, size: int) -> None:
        ids, spans = self._ids, self._spans
        self._ids = np.empty(size, np.int64)
        self._ids[: self._start] = ids[: self._start]
        self._places[2:] = [_address(self._ids)]
        if spans is not None:
            self._spans = np.empty((size, 3), np.int32)
            self._spans[: self._start] = spans[: self._start]
            self._places.append(_address(self._spans))

    def counted(self, texts: int) -> Array:
        """Return the number of tokens of each text of the current batch."""
        counts: Array = self._counts[1, self._texts : self._texts + texts]
        return counts

    def end_batch(self, texts: int) -> int:
        """Keep the rows of the current batch, and return how many ids they have."""
        self._start += self.size
        self._texts += texts
        return self.size

    def read(self) -> Read:
        """Return all rows; unused memory is given back."""
        self._ids.resize(self._start, refcheck=False)
        if self._spans is not None:
            self._spans.resize((self._start, 3), refcheck=False)
        return Read(self._ids, self._counts[0], self._counts[1], self._spans)


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _joined(words: Any) -> bytes:
    return "\0".join([*words, ""]).encode("utf-8", "surrogatepass")


def _table(entries: int, size: int) -> NDArray[np.uint8]:
    """Return an empty hash table that ``entries`` fill by half, or a little more."""
    capacity = 1 << max(entries, 8).bit_length()
    return _zeros(capacity * size).reshape(capacity, size)


def _zeros(size: int) -> NDArray[np.uint8]:
    """Return bytes that begin with a cache line; many in huge pages, where random lookups seldom miss the TLB."""
    if size >= LARGE_PAGE:
        return large_pages(size)
    memory = np.zeros(size + 64, np.uint8)
    return memory[-memory.ctypes.data % 64 :][:size]
