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

Array = NDArray[np.int64]
_EDGE, _SHORT_WORD, _RUN, _RUN_SPANS = 16, 24, 64, 3 * 7  # bytes of a place in each table
_RUNS = 1 << 15
"""Runs of characters that one thread remembers."""
_AT_A_TIME = 1 << 18
"""Characters of texts that are read together."""
_UNLIMITED = 1 << 62
_MEMORIES = 16
"""Calls at a time whose memories are kept."""
_CHARACTERS_A_TOKEN = 16
"""Where the beginning or end of a much longer text is kept, so many characters a token are read at first."""


class _Forbidden(ctypes.Structure):
    _fields_ = (("written", c_uint32), ("normal", c_uint32), ("reads_all", c_int), ("begins", c_ubyte * 128))


class _WordPiece(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("pages", "entries", "forms", "edges", "words")),
        *((name, c_long) for name in ("num_edges", "num_words")),
        *((name, c_int32) for name in ("unknown", "parts_ideographs", "lower_cases")),
        ("nodes", c_uint32),
        ("forbidden", _Forbidden * 2),
        ("ascii", c_ubyte * 128),
        ("sign_ids", c_int32 * 128),
    )


class _Rows(ctypes.Structure):
    _fields_ = (
        *((name, c_char_p) for name in ("before", "behind")),
        *((name, c_long) for name in ("num_before", "num_behind", "most")),
        *((name, c_int) for name in ("keeps_last", "which")),
        *((name, c_void_p) for name in ("ids", "spans")),
        ("capacity", c_long),
        *((name, c_void_p) for name in ("kept", "found", "runs", "run_spans")),
        ("num_runs", c_long),
    )


class Cut(NamedTuple):
    """What rows are made of: the ids around each text, and which of its tokens are kept."""

    before: bytes = b""  # int64
    behind: bytes = b""
    most: int | None = None
    keeps_last: bool = False
    counts: bool = True  # those that are not kept, exactly


class Read(NamedTuple):
    """Rows side by side."""

    ids: Array  # [T] int64
    kept: Array  # [B] int64, tokens of each text in its row; -1 where the text was not read and has no row
    found: Array  # [B] int64, tokens of each text; -1 likewise
    # [T, 3]: the first character of each token, the one behind its last, and the number of its word, if asked for
    spans: NDArray[np.int32] | None


@lru_cache(maxsize=1)
def functions() -> ctypes.CDLL | None:
    """Return the library with the functions of this kernel, or None where it was not compiled."""
    found = library.loaded()
    if found is None or not hasattr(found, "bertie_wordpiece_size"):
        return None
    found.bertie_wordpiece_size.restype = c_long
    if found.bertie_wordpiece_size() != ctypes.sizeof(_WordPiece):
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
        lower_case: bool,
        parts_ideographs: bool,
        # two choices of what texts must not hold to be read: as it is written, and as a part of a word's normal form
        forbidden: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
    ) -> None:
        # no text holds a NUL
        tokens = {token: id_ for token, id_ in vocabulary.items() if token and "\0" not in token}
        self._characters, self._unknown = characters, unknown
        self._lower_case, self._parts_ideographs = lower_case, parts_ideographs
        room = 3 * len(tokens) + sum(len(words) for choice in forbidden for words in choice)
        while not self._filled(tokens, forbidden, room):
            room *= 2
        self._address = ctypes.addressof(self._wordpiece)
        self._may_hold_blanks = any(word.split() != [word] for choice in forbidden for word in choice[0])
        self._memories: list[_Memory] = []

    def _filled(
        self, tokens: Mapping[str, int], forbidden: Sequence[tuple[Sequence[str], Sequence[str]]], room: int
    ) -> bool:
        """Make the tables; False if they need more than ``room`` for edges."""
        kernel: Any = functions()
        self._tables = [_table(room, _EDGE), _table(2 * len(tokens), _SHORT_WORD)]
        addresses = map(_address, [*self._characters, *self._tables])
        numbers = *map(len, self._tables), self._unknown, self._parts_ideographs, self._lower_case
        self._wordpiece = _WordPiece(*addresses, *numbers)
        place = ctypes.byref(self._wordpiece)
        joined, ids = _joined(tokens), np.fromiter(tokens.values(), np.int32, len(tokens))
        if not kernel.bertie_wordpiece_fill(place, joined, len(joined), _address(ids), len(ids)):
            return False
        for which, choice in enumerate(forbidden):
            for is_normal, words in enumerate(choice):
                joined = _joined(words)
                if words and not kernel.bertie_wordpiece_forbid(place, which, is_normal, joined, len(joined)):
                    return False
        return True

    def read(self, texts: Sequence[str], cut: Cut, which: int = 0, with_spans: bool = False) -> Read:
        """Return the rows of texts.

        Raises:
            InputError: a text has 2 GiB or more.
        """
        if cut.most is not None and not cut.counts and not self._may_hold_blanks:
            size = _CHARACTERS_A_TOKEN * (cut.most + 16)
            if max(map(len, texts), default=0) > 2 * size:
                parts = [_part(text, size, cut.keeps_last) for text in texts]
                rows = self._read_all(parts, cut, which, with_spans)
                is_enough = rows.found > cut.most
                if all(enough or part is text for enough, part, text in zip(is_enough, parts, texts, strict=True)):
                    return rows
        return self._read_all(texts, cut, which, with_spans)

    def _read_all(self, texts: Sequence[str], cut: Cut, which: int, with_spans: bool) -> Read:
        memory = self._memories.pop() if self._memories else _Memory()
        parts = [self._read_some(some, cut, which, with_spans, memory) for some in _in_turn(texts) or [texts]]
        if len(self._memories) < _MEMORIES:
            self._memories.append(memory)
        if len(parts) == 1:
            return parts[0]
        ids, kept, found = (np.concatenate([part[column] for part in parts]) for column in range(3))
        spans = [part.spans for part in parts if part.spans is not None]
        return Read(ids, kept, found, np.concatenate(spans) if spans else None)

    def _read_some(self, texts: Sequence[str], cut: Cut, which: int, with_spans: bool, memory: "_Memory") -> Read:
        raw = b"\0".join([*map(str.encode, texts), b""])
        if raw.count(0) != len(texts):  # it is dropped like this other control character
            raw = b"\0".join([*(text.encode().replace(b"\0", b"\1") for text in texts), b""])
        if len(raw) >= 2**31:
            raise InputError(f"A text has {len(raw)} bytes; they must be fewer than 2 GiB. Give it in parts.")
        framed = (len(cut.before) + len(cut.behind)) // 8
        # a token is a byte or more; a run is copied whole
        ids, spans, counts = memory.lend(len(raw) + framed * len(texts) + 8, len(texts), with_spans)
        rows = memory.rows
        rows.before, rows.behind = cut.before, cut.behind
        rows.num_before, rows.num_behind = len(cut.before) // 8, len(cut.behind) // 8
        rows.most = _UNLIMITED if cut.most is None else cut.most
        rows.keeps_last, rows.which = cut.keeps_last, which
        kernel: Any = functions()
        size = kernel.bertie_wordpiece_read(self._address, raw, len(raw), len(texts), memory.address)
        if size < 0:
            raise MemoryError("The rows of some texts have no room.")
        kept, found = counts[:, : len(texts)].copy()
        return Read(ids[:size].copy(), kept, found, None if spans is None else spans[:size].copy())


class _Memory:
    """What one call at a time is lent: room for its rows, and the runs of characters that were met before."""

    def __init__(self) -> None:
        self._runs, self._run_spans = _table(_RUNS // 2 + 1, _RUN), np.zeros((_RUNS, _RUN_SPANS), np.uint8)
        self.rows = _Rows(runs=_address(self._runs), run_spans=_address(self._run_spans), num_runs=_RUNS)
        self.address = ctypes.addressof(self.rows)
        self._ids, self._spans = np.empty(0, np.int64), np.empty((0, 3), np.int32)
        self._counts = np.empty((2, 0), np.int64)

    def lend(self, size: int, texts: int, with_spans: bool) -> tuple[Array, NDArray[np.int32] | None, Array]:
        """Return room for ``size`` ids and spans and the counts of texts, to which ``rows`` points."""
        rows = self.rows
        if not len(self._ids) >= size >= len(self._ids) - 16 * _AT_A_TIME:  # what is very large is not kept for long
            self._ids = np.empty(size + 1024, np.int64)
            rows.ids = _address(self._ids)
        if with_spans and len(self._spans) < len(self._ids):
            self._spans = np.empty((len(self._ids), 3), np.int32)
        if self._counts.shape[1] < texts:
            self._counts = np.empty((2, texts + 32), np.int64)
            rows.kept, rows.found = map(_address, self._counts)
        rows.spans = _address(self._spans) if with_spans else None
        rows.capacity = len(self._ids)
        return self._ids, self._spans if with_spans else None, self._counts


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _part(text: str, size: int, last: bool) -> str:
    """Return the words that begin a text of more than ``2 * size`` characters, or ``last`` the words that end it."""
    if len(text) <= 2 * size:
        return text
    place = text.find(" ", len(text) - size) if last else text.rfind(" ", 0, size)
    if place < 0:
        return text
    return text[place:] if last else text[:place]


def _joined(words: Any) -> bytes:
    return "\0".join([*words, ""]).encode("utf-8", "surrogatepass")


def _table(entries: int, size: int) -> NDArray[np.uint8]:
    """Return an empty hash table that has places for twice as many entries, or nearly so, from a cache line on."""
    places = 1 << max(entries, 8).bit_length()
    memory = np.zeros(places * size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + places * size].reshape(places, size)


def _in_turn(texts: Sequence[str]) -> list[Sequence[str]]:
    """Return neighbouring texts of about `_AT_A_TIME` characters together."""
    found: list[Sequence[str]] = []
    start = size = 0
    for stop, text in enumerate(texts, 1):
        size += len(text)
        if size >= _AT_A_TIME or stop == len(texts):
            found.append(texts[start:stop])
            start, size = stop, 0
    return found
