"""One row of ids and where each id comes from: windows of one or two texts, special tokens around them, and padding."""

import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from bertie.errors import InputTypeError
from bertie.tokenization.pieces import Details, Ids, Pieces, Span


class CharSpan(NamedTuple):
    """Characters ``start:end`` of a text."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens ``start:end`` of a row."""

    start: int
    end: int


class Window(NamedTuple):
    """The pieces ``start:stop`` of a text, and their ids."""

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
        """Return the window of ids whose tokens and text are unknown."""
        try:
            return cls.whole(Pieces(array("q", ids), lambda: Details([], [], [])))
        except (TypeError, OverflowError):
            raise InputTypeError(f"the ids are {ids!r:.60}; they must be a sequence of integers") from None

    def cut(self, start: int, stop: int) -> "Window":
        return Window(self.pieces, self.ids[start:stop], start, stop)


class SpecialToken(NamedTuple):
    """A special token that a tokenizer adds to texts."""

    id: int
    token: str
    type_id: int = 0


class Template(NamedTuple):
    """The special tokens around the texts of a row: ``[CLS] A [SEP]`` has the gaps ``[CLS]`` and ``[SEP]``."""

    gaps: tuple[tuple[SpecialToken, ...], ...]  # gaps[i] comes before text i, the last one after all texts
    types: tuple[int, ...]  # the token type of each text
    size: int  # the number of special tokens
    id_bytes: tuple[bytes, ...]  # the ids of each gap as int64
    type_bytes: tuple[bytes, ...]  # the token types of each gap as int64
    untyped: bool  # whether every token has type 0

    @classmethod
    def of(cls, gaps: tuple[tuple[SpecialToken, ...], ...], types: tuple[int, ...]) -> "Template":
        id_bytes = tuple(array("q", [special.id for special in gap]).tobytes() for gap in gaps)
        type_bytes = tuple(array("q", [special.type_id for special in gap]).tobytes() for gap in gaps)
        untyped = not any(types) and not any(special.type_id for gap in gaps for special in gap)
        return cls(gaps, types, sum(map(len, gaps)), id_bytes, type_bytes, untyped)


Templates = tuple[Template, Template]
"""The templates of a single text and of a pair."""


@cache
def bare_templates(second_type: int) -> Templates:
    """Return templates without special tokens; the second text of a pair has the token type ``second_type``."""
    return Template.of(((), ()), (0,)), Template.of(((), (), ()), (0, second_type))


@lru_cache(maxsize=64)
def bert_templates(cls: SpecialToken, sep: SpecialToken) -> Templates:
    """Return ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``."""
    pair = Template.of(((cls,), (sep,), (sep._replace(type_id=1),)), (0, 1))
    return Template.of(((cls,), (sep,)), (0,)), pair


@lru_cache(maxsize=64)
def without_types(template: Template) -> Template:
    """Return the template with the token type 0 throughout."""
    gaps = tuple(tuple(special._replace(type_id=0) for special in gap) for gap in template.gaps)
    return Template.of(gaps, (0,) * len(template.types))


class Padding(NamedTuple):
    """``size`` padding tokens on one ``side`` of a row."""

    size: int
    side: str
    special: SpecialToken


_NO_PADDING = Padding(0, "right", SpecialToken(0, ""))


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """One row of ids. Every list has one entry per token, special tokens and padding included.

    ``overflowing`` holds the further rows of a truncated text. A row is immutable.
    """

    windows: tuple[Window, ...]
    template: Template
    padding: Padding = _NO_PADDING
    overflowing: Sequence["Encoding"] = ()

    def padded(self, width: int, side: str, special: SpecialToken) -> "Encoding":
        """Return this row padded to ``width`` tokens, and its overflowing rows likewise."""
        overflowing = tuple(row.padded(width, side, special) for row in self.overflowing)
        padding = Padding(max(width - len(self), 0), side, special)
        return Encoding(self.windows, self.template, padding, overflowing)

    def __len__(self) -> int:
        size = self.template.size + self.padding.size
        for window in self.windows:
            size += len(window.ids)
        return size

    def __repr__(self) -> str:
        return f"Encoding(num_tokens={len(self)}, tokens={self.tokens!r})"

    @property
    def ids(self) -> list[int]:
        return self._filled(lambda window: window.ids.tolist(), attrgetter("id"), self.padding.special.id)

    @property
    def tokens(self) -> list[str]:
        return self._filled(_detail("tokens"), attrgetter("token"), self.padding.special.token)

    @property
    def offsets(self) -> list[Span]:
        """Characters ``(start, end)`` in the text (or pre-split word); ``(0, 0)`` for special tokens and padding."""
        return self._filled(_detail("offsets"), lambda _: (0, 0), (0, 0))

    @property
    def word_ids(self) -> list[int | None]:
        """The number of each token's word in its text; None for special tokens and padding."""
        return self._filled(_detail("word_ids"), lambda _: None, None)

    words = word_ids

    @property
    def type_ids(self) -> list[int]:
        return self._pad(array("q", b"".join(self.type_parts())).tolist(), self.padding.special.type_id)

    def type_parts(self) -> list[bytes]:
        """Return the token types as int64, in parts to be joined, without padding."""
        template = self.template
        parts = [template.type_bytes[0]]
        for window, type_id, id_bytes in zip(self.windows, template.types, template.type_bytes[1:], strict=True):
            parts += (type_id.to_bytes(8, sys.byteorder) * len(window.ids), id_bytes)
        return parts

    @property
    def attention_mask(self) -> list[int]:
        return self._pad([1] * (len(self) - self.padding.size), 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens and padding, 0 for tokens of the texts."""
        return self._filled(lambda window: [0] * len(window.ids), lambda _: 1, 1)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1 for each token's text; None for special tokens and padding."""
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
        """The number of tokens of its texts that are not in this row."""
        cut = 0
        for window in self.windows:
            cut += len(window.pieces.ids) - len(window.ids)
        return cut

    @property
    def is_empty(self) -> bool:
        """Whether its texts have no tokens at all, truncated ones included."""
        return not any(len(window.pieces.ids) for window in self.windows)

    def token_to_sequence(self, token_index: int) -> int | None:
        """Return the text (0 or 1) that a token comes from, or None."""
        sequence_ids = self.sequence_ids
        return sequence_ids[token_index] if 0 <= token_index < len(sequence_ids) else None

    def token_to_chars(self, token_index: int) -> CharSpan | None:
        """Return the characters of a token, or None for a special token."""
        return None if self.token_to_sequence(token_index) is None else CharSpan(*self.offsets[token_index])

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

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> TokenSpan | None:
        """Return the tokens of a word of text ``sequence_index``, or None."""
        words = self.word_ids
        tokens = [token for token in self.tokens_of(sequence_index) if words[token] == word_index]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> CharSpan | None:
        """Return the characters of a word of text ``sequence_index``, or None."""
        tokens = self.word_to_tokens(word_index, sequence_index)
        if tokens is None:
            return None
        offsets = self.offsets
        return CharSpan(offsets[tokens.start][0], offsets[tokens.end - 1][1])

    def tokens_of(self, sequence_index: int) -> range:
        """Return the indices of a text's tokens in the row."""
        if not 0 <= sequence_index < len(self.windows):
            return range(0)
        before = sum(map(len, self.template.gaps[: sequence_index + 1]))
        before += sum(len(window.ids) for window in self.windows[:sequence_index])
        before += self.padding.size if self.padding.side == "left" else 0
        return range(before, before + len(self.windows[sequence_index].ids))

    def _filled(
        self, of_window: Callable[[Window], list[Any]], of_special: Callable[[SpecialToken], Any], pad: Any
    ) -> list[Any]:
        """Return the template's special tokens and the windows in order, as these functions show them, and padding."""
        first, *gaps = self.template.gaps
        values = list(map(of_special, first))
        for window, gap in zip(self.windows, gaps, strict=True):
            values += of_window(window)
            values += map(of_special, gap)
        return self._pad(values, pad)

    def _pad(self, values: list[Any], pad: Any) -> list[Any]:
        filling = [pad] * self.padding.size
        return filling + values if self.padding.side == "left" else values + filling


def _detail(name: str) -> Callable[[Window], list[Any]]:
    return lambda window: getattr(window.pieces, name)[window.start : window.stop]
