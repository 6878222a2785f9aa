"""One row of ids and where each id came from: windows of one or two texts, framed by special tokens, and padding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bertie.tokenization.pieces import Ids, Pieces, Span


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

    def cut(self, start: int, stop: int) -> "Window":
        return Window(self.pieces, self.ids[start:stop], start, stop)


class Special(NamedTuple):
    """A special token that a tokenizer puts beside texts."""

    id: int
    token: str


class Frame(NamedTuple):
    """The special tokens around texts: ``first A last`` and ``first A last B last``."""

    first: Special
    last: Special


class Padding(NamedTuple):
    """``size`` tokens beside a row, on its ``side``."""

    size: int
    side: str
    special: Special
    type_id: int


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One row of ids. Every list has one entry a token: special tokens and padding included.

    ``overflowing`` holds the rows that truncation cut off, if they were asked for. A row never changes.
    """

    windows: tuple[Window, ...]
    frame: Frame | None
    padding: Padding | None = None
    overflowing: Sequence["Encoding"] = ()
    second_type: int = 1

    def padded(self, width: int, side: str, special: Special, type_id: int) -> "Encoding":
        """Return this row with padding beside it up to ``width`` tokens; its overflowing rows likewise."""
        overflowing = tuple(row.padded(width, side, special, type_id) for row in self.overflowing)
        padding = Padding(max(width - len(self), 0), side, special, type_id)
        return Encoding(self.windows, self.frame, padding, overflowing, self.second_type)

    def __len__(self) -> int:
        framed = 1 if self.frame else 0
        size = framed + self._padding_size
        for window in self.windows:
            size += len(window.ids) + framed
        return size

    def __repr__(self) -> str:
        return f"Encoding(num_tokens={len(self)}, tokens={self.tokens!r})"

    @property
    def ids(self) -> list[int]:
        first, last = self.frame or (None, None)
        pad = self.padding.special.id if self.padding else 0
        return self._spread(lambda window: window.ids.tolist(), first and first.id, last and last.id, pad)

    @property
    def tokens(self) -> list[str]:
        first, last = self.frame or (None, None)
        pad = self.padding.special.token if self.padding else ""
        return self._spread(_reader("tokens"), first and first.token, last and last.token, pad)

    @property
    def offsets(self) -> list[Span]:
        """Characters ``(start, stop)`` in the text (or pre-split word); ``(0, 0)`` for special tokens and padding."""
        return self._spread(_reader("offsets"), (0, 0), (0, 0), (0, 0))

    @property
    def word_ids(self) -> list[int | None]:
        """The number of each token's word in its text; None for special tokens and padding."""
        return self._spread(_reader("word_ids"), None, None, None)

    words = word_ids

    @property
    def type_ids(self) -> list[int]:
        pad = self.padding.type_id if self.padding else 0
        (first, firsts), (second, seconds) = self.type_counts
        return self._pad([first] * firsts + [second] * seconds, pad)

    @property
    def type_counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The token type of each of two texts, and how many tokens have it, without padding."""
        size = len(self) - self._padding_size
        # the special token between two texts belongs to the first
        firsts = self._span_of(1).start if len(self.windows) > 1 else size
        return (0, firsts), (self.second_type, size - firsts)

    @property
    def attention_mask(self) -> list[int]:
        return self._pad([1] * (len(self) - self._padding_size), 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for the tokens that were put beside the text, padding included; 0 for those of the text."""
        return self._spread(lambda window: [0] * len(window.ids), 1, 1, 1)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1 for the text that a token came from; None for special tokens and padding."""
        ids: list[int | None] = [None] * len(self)
        for number in range(len(self.windows)):
            span = self._span_of(number)
            shift = self._left_padding
            ids[span.start + shift : span.stop + shift] = [number] * len(span)
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
        """Return the characters ``(start, stop)`` that a token stands for, or None."""
        return None if self.token_to_sequence(token_index) is None else self.offsets[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        """Return the number of a token's word, or None."""
        return None if self.token_to_sequence(token_index) is None else self.word_ids[token_index]

    def char_to_token(self, char_pos: int, sequence_index: int = 0) -> int | None:
        """Return the token that holds a character of text ``sequence_index``, or None."""
        offsets = self.offsets
        for token in self._tokens_of(sequence_index):
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
        tokens = [token for token in self._tokens_of(sequence_index) if words[token] == word_index]
        return (tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """Return the characters ``(start, stop)`` of a word of text ``sequence_index``, or None."""
        tokens = self.word_to_tokens(word_index, sequence_index)
        if tokens is None:
            return None
        offsets = self.offsets
        return offsets[tokens[0]][0], offsets[tokens[1] - 1][1]

    @property
    def _padding_size(self) -> int:
        return self.padding.size if self.padding else 0

    @property
    def _left_padding(self) -> int:
        return self.padding.size if self.padding and self.padding.side == "left" else 0

    def _tokens_of(self, sequence_index: int) -> range:
        if not 0 <= sequence_index < len(self.windows):
            return range(0)
        span, shift = self._span_of(sequence_index), self._left_padding
        return range(span.start + shift, span.stop + shift)

    def _span_of(self, number: int) -> range:
        """The tokens of one text, padding not counted. Text 1 begins after the special token behind text 0."""
        framed = 1 if self.frame else 0
        start = framed + sum(len(window.ids) + framed for window in self.windows[:number])
        return range(start, start + len(self.windows[number].ids))

    def _spread(self, read: Callable[[Window], list[Any]], first: Any, last: Any, pad: Any) -> list[Any]:
        if self.frame is None:
            return self._pad([value for window in self.windows for value in read(window)], pad)
        values = [first]
        for window in self.windows:
            values += read(window)
            values.append(last)
        return self._pad(values, pad)

    def _pad(self, values: list[Any], pad: Any) -> list[Any]:
        if self.padding is None or self.padding.size == 0:
            return values
        filling = [pad] * self.padding.size
        return filling + values if self.padding.side == "left" else values + filling


def _reader(name: str) -> Callable[[Window], list[Any]]:
    return lambda window: getattr(window.pieces, name)[window.start : window.stop]
