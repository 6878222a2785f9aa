"""One row of ids and where each id came from: windows of one or two texts, framed by special tokens, and padding."""

import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from bertie.errors import InputTypeError
from bertie.tokenization.pieces import Details, Ids, Pieces, Span


class Window(NamedTuple):
    """The pieces ``start:stop`` of a text; ``ids`` are theirs."""

    pieces: Pieces
    ids: Ids
    start: int
    stop: int

    @classmethod
    def whole(cls, pieces: Pieces) -> "Window":
        ids = pieces.ids
        return cls(pieces, ids, 0, len(ids))

    @classmethod
    def of_ids(cls, ids: Sequence[int]) -> "Window":
        """Return the window of ids of which nothing else is known."""
        try:
            return cls.whole(Pieces(array("q", ids), lambda: Details([], [], [])))
        except (TypeError, OverflowError):
            raise InputTypeError(f"the ids are {ids!r:.60}; they must be integers, one a token") from None

    def cut(self, start: int, stop: int) -> "Window":
        return Window(self.pieces, self.ids[start:stop], start, stop)


class Special(NamedTuple):
    """A special token that a tokenizer puts beside texts."""

    id: int
    token: str
    type_id: int = 0


class Frame(NamedTuple):
    """What stands around the texts of a row, one or two: ``[CLS] A [SEP]`` has the gaps ``[CLS]`` and ``[SEP]``."""

    gaps: tuple[tuple[Special, ...], ...]  # gaps[i] stands before text i, the last one behind all of them
    types: tuple[int, ...]  # the token type of each text
    size: int  # the number of special tokens
    codes: tuple[bytes, ...]  # the ids of each gap as int64
    type_codes: tuple[bytes, ...]  # the token types of each gap as int64
    untyped: bool  # whether every token has the type 0

    @classmethod
    def of(cls, gaps: tuple[tuple[Special, ...], ...], types: tuple[int, ...]) -> "Frame":
        codes = tuple(array("q", [special.id for special in gap]).tobytes() for gap in gaps)
        type_codes = tuple(array("q", [special.type_id for special in gap]).tobytes() for gap in gaps)
        untyped = not any(types) and not any(special.type_id for gap in gaps for special in gap)
        return cls(gaps, types, sum(map(len, gaps)), codes, type_codes, untyped)


Frames = tuple[Frame, Frame]
"""Those of a single text and of a pair."""


@cache
def bare_frames(second_type: int) -> Frames:
    """Return what rows without special tokens have, where the second text of a pair has ``second_type``."""
    return Frame.of(((), ()), (0,)), Frame.of(((), (), ()), (0, second_type))


@lru_cache(maxsize=64)
def bert_frames(cls: Special, sep: Special) -> Frames:
    """Return ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``."""
    pair = Frame.of(((cls,), (sep,), (sep._replace(type_id=1),)), (0, 1))
    return Frame.of(((cls,), (sep,)), (0,)), pair


@lru_cache(maxsize=64)
def without_types(frame: Frame) -> Frame:
    """Return the frame in which every token has the type 0."""
    gaps = tuple(tuple(special._replace(type_id=0) for special in gap) for gap in frame.gaps)
    return Frame.of(gaps, (0,) * len(frame.types))


class Padding(NamedTuple):
    """``size`` tokens beside a row, on its ``side``."""

    size: int
    side: str
    special: Special


_NO_PADDING = Padding(0, "right", Special(0, ""))


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One row of ids. Every list has one entry a token: special tokens and padding included.

    ``overflowing`` holds the rows that truncation cut off, on request. A row never changes.
    """

    windows: tuple[Window, ...]
    frame: Frame
    padding: Padding = _NO_PADDING
    overflowing: Sequence["Encoding"] = ()

    def padded(self, width: int, side: str, special: Special) -> "Encoding":
        """Return this row with padding beside it up to ``width`` tokens; its overflowing rows likewise."""
        overflowing = tuple(row.padded(width, side, special) for row in self.overflowing)
        padding = Padding(max(width - len(self), 0), side, special)
        return Encoding(self.windows, self.frame, padding, overflowing)

    def __len__(self) -> int:
        size = self.frame.size + self.padding.size
        for window in self.windows:
            size += len(window.ids)
        return size

    def __repr__(self) -> str:
        return f"Encoding(num_tokens={len(self)}, tokens={self.tokens!r})"

    @property
    def ids(self) -> list[int]:
        return self._spread(lambda window: window.ids.tolist(), attrgetter("id"), self.padding.special.id)

    @property
    def tokens(self) -> list[str]:
        return self._spread(_reader("tokens"), attrgetter("token"), self.padding.special.token)

    @property
    def offsets(self) -> list[Span]:
        """Characters ``(start, stop)`` in the text (or pre-split word); ``(0, 0)`` for special tokens and padding."""
        return self._spread(_reader("offsets"), lambda _: (0, 0), (0, 0))

    @property
    def word_ids(self) -> list[int | None]:
        """The number of each token's word in its text; None for special tokens and padding."""
        return self._spread(_reader("word_ids"), lambda _: None, None)

    words = word_ids

    @property
    def type_ids(self) -> list[int]:
        return self._pad(array("q", b"".join(self.type_parts())).tolist(), self.padding.special.type_id)

    def type_parts(self) -> list[bytes]:
        """Return the token types as int64, part by part, without padding."""
        frame = self.frame
        parts = [frame.type_codes[0]]
        for window, type_id, codes in zip(self.windows, frame.types, frame.type_codes[1:], strict=True):
            parts += (type_id.to_bytes(8, sys.byteorder) * len(window.ids), codes)
        return parts

    @property
    def attention_mask(self) -> list[int]:
        return self._pad([1] * (len(self) - self.padding.size), 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for the tokens that were put beside the text, padding included; 0 for those of the text."""
        return self._spread(lambda window: [0] * len(window.ids), lambda _: 1, 1)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1 for the text that a token came from; None for special tokens and padding."""
        ids: list[int | None] = [None] * len(self)
        for number in range(len(self.windows)):
            tokens = self.tokens_of(number)
            ids[tokens.start : tokens.stop] = [number] * len(tokens)
        return ids

    @property
    def n_sequences(self) -> int:
        return len(self.windows)

    @property
    def tokens_cut(self) -> int:
        """How many tokens of its texts truncation left out of this row."""
        cut = 0
        for window in self.windows:
            cut += len(window.pieces.ids) - len(window.ids)
        return cut

    @property
    def is_empty(self) -> bool:
        """Whether its texts have no token at all, cut off or not."""
        return not any(len(window.pieces.ids) for window in self.windows)

    def token_to_sequence(self, token_index: int) -> int | None:
        """Return the number of the text that a token came from, or None."""
        sequence_ids = self.sequence_ids
        return sequence_ids[token_index] if 0 <= token_index < len(sequence_ids) else None

    def token_to_chars(self, token_index: int) -> Span | None:
        """Return the characters ``(start, stop)`` of a token, or None."""
        return None if self.token_to_sequence(token_index) is None else self.offsets[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        """Return the number of a token's word, or None."""
        return None if self.token_to_sequence(token_index) is None else self.word_ids[token_index]

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Return the token that holds a character of text ``sequence_index``, or None."""
        offsets = self.offsets
        for token in self.tokens_of(sequence_index):
            start, stop = offsets[token]
            if start <= char_pos < stop:
                return token
        return None

    def char_to_word(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Return the word that holds a character of text ``sequence_index``, or None."""
        token = self.char_to_token(char_pos, sequence_index)
        return None if token is None else self.token_to_word(token)

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """Return the tokens ``(start, stop)`` of a word of text ``sequence_index``, or None."""
        words = self.word_ids
        tokens = [token for token in self.tokens_of(sequence_index) if words[token] == word_index]
        return (tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """Return the characters ``(start, stop)`` of a word of text ``sequence_index``, or None."""
        tokens = self.word_to_tokens(word_index, sequence_index)
        if tokens is None:
            return None
        offsets = self.offsets
        return offsets[tokens[0]][0], offsets[tokens[1] - 1][1]

    def tokens_of(self, sequence_index: int) -> range:
        """Return the places in the row of the tokens of a text."""
        if not 0 <= sequence_index < len(self.windows):
            return range(0)
        before = sum(map(len, self.frame.gaps[: sequence_index + 1]))
        before += sum(len(window.ids) for window in self.windows[:sequence_index])
        before += self.padding.size if self.padding.side == "left" else 0
        return range(before, before + len(self.windows[sequence_index].ids))

    def _spread(self, read: Callable[[Window], list[Any]], of_special: Callable[[Special], Any], pad: Any) -> list[Any]:
        first, *gaps = self.frame.gaps
        values = list(map(of_special, first))
        for window, gap in zip(self.windows, gaps, strict=True):
            values += read(window)
            values += map(of_special, gap)
        return self._pad(values, pad)

    def _pad(self, values: list[Any], pad: Any) -> list[Any]:
        filling = [pad] * self.padding.size
        return filling + values if self.padding.side == "left" else values + filling


def _reader(name: str) -> Callable[[Window], list[Any]]:
    return lambda window: getattr(window.pieces, name)[window.start : window.stop]
