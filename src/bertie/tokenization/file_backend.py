"""The backend of tokenizers that are not BERT's: ``tokenizers`` runs what a ``tokenizer.json`` states."""

import os
from array import array
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Encoding, PreTokenizedString, Token, Tokenizer

from bertie.errors import CheckpointError
from bertie.kernels.text_reader import Cut
from bertie.tokenization.encoding import Frame, Frames, Special
from bertie.tokenization.inputs import without_surrogates
from bertie.tokenization.pieces import Block, Details, Pieces


class RustBackend:
    """The vocabulary of a `Backend` that ``tokenizers`` holds."""

    rust: Tokenizer
    """What ``tokenizers`` runs, with the added tokens."""

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        return add_tokens(self.rust, tokens, special)

    def added_tokens(self) -> dict[int, AddedToken]:
        return dict(self.rust.get_added_tokens_decoder())

    def get_vocab(self, with_added_tokens: bool) -> dict[str, int]:
        return dict(self.rust.get_vocab(with_added_tokens=with_added_tokens))

    def token_to_id(self, token: str) -> int | None:
        return self.rust.token_to_id(token)

    def id_to_token(self, index: int) -> str | None:
        return self.rust.id_to_token(index)


class FileBackend(RustBackend):
    """A `Backend` for any model, normalizer and pre-tokenizer; ``rust`` loses its padding and truncation."""

    def __init__(self, rust: Tokenizer) -> None:
        rust.no_padding()
        rust.no_truncation()
        self.rust = rust
        self._frames = {special: frames_of(rust, special) for special in (True, False)}
        self._plain: Tokenizer | None = None

    @property
    def prefix(self) -> str | None:
        return getattr(self.rust.model, "continuing_subword_prefix", None) or None

    def frames(self, special_tokens: bool) -> Frames:
        """Return what stands around texts; with other backends the tokenizer's named special tokens say it."""
        return self._frames[special_tokens]

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        self._plain = None
        return super().add_tokens(tokens, special)

    def read(self, texts: Sequence[Any], split: bool, plain: bool, cut: Cut) -> Block:
        return read_by_rust(self._reading_plainly() if plain else self.rust, texts, split, cut)

    def _reading_plainly(self) -> Tokenizer:
        """Return a copy that cuts special tokens in texts like any other text."""
        if self._plain is None:
            rust = copied(self.rust)
            rust.encode_special_tokens = True
            self._plain = rust
        return self._plain

    def __reduce__(self) -> tuple[Any, ...]:
        return _parsed, (self.rust.to_str(),)


def _parsed(serialized: str) -> FileBackend:
    return FileBackend(Tokenizer.from_str(serialized))


def copied(rust: Tokenizer) -> Tokenizer:
    """Return a copy, which shares nothing with the original."""
    return Tokenizer.from_str(rust.to_str())


def add_tokens(rust: Tokenizer, tokens: list[str | AddedToken], special: bool) -> int:
    return int(rust.add_special_tokens(tokens) if special else rust.add_tokens(tokens))


def read_by_rust(rust: Tokenizer, texts: Sequence[Any], split: bool, cut: Cut) -> Block:
    """Return what ``tokenizers`` makes of texts, or of lists of words if ``split``."""
    texts = without_surrogates(texts, split)
    try:
        rows = rust.encode_batch(list(texts), is_pretokenized=split, add_special_tokens=False)
    except Exception as error:  # tokenizers raises nothing more special
        raise CheckpointError(
            f"the model of the tokenizer.json cannot cut these texts ({str(error)[:200]}); fetch the file again"
        ) from error
    return Block.of(list(map(_pieces, rows)), cut)


def _pieces(row: Encoding) -> Pieces:
    return Pieces(array("q", row.ids), lambda: Details(row.tokens, row.offsets, row.word_ids))


def frames_of(rust: Tokenizer, special_tokens: bool) -> Frames:
    """Return what the tokenizer puts around a text and around a pair, found out by letting it do so."""
    first, second = _marker(0), _marker(1)
    single = _frame(rust.post_process(first, None, add_special_tokens=special_tokens), 1)
    return single, _frame(rust.post_process(first, second, add_special_tokens=special_tokens), 2)


def _marker(number: int) -> Encoding:
    """Return the encoding of a text of one token."""
    text = PreTokenizedString("a")
    text.tokenize(lambda _: [Token(0, "a", (0, 1))])
    return text.to_encoding(type_id=number)


def _frame(row: Encoding, texts: int) -> Frame:
    gaps: list[list[Special]] = [[]]
    types: list[int] = []
    if len(row.ids) != len(row.tokens):
        raise CheckpointError(
            f"the post-processor of the tokenizer.json has {len(row.ids)} ids for {len(row.tokens)} tokens; "
            "fetch it again"
        )
    for id_, token, type_id, text in zip(row.ids, row.tokens, row.type_ids, row.sequence_ids, strict=True):
        if text is None:
            gaps[-1].append(Special(id_, token, type_id))
        elif text == len(types):
            types.append(type_id)
            gaps.append([])
        else:
            break
    if len(types) != texts or sum(map(len, gaps)) + texts != len(row):
        raise CheckpointError(
            f"the post-processor of the tokenizer makes {' '.join(row.tokens)!r} of {texts} texts 'a'; "
            "each text must stand there once, the first before the second"
        )
    return Frame.of(tuple(map(tuple, gaps)), tuple(types))


_PARALLELISM = "TOKENIZERS_PARALLELISM"
_set_here = False


def _before_fork() -> None:
    # `tokenizers` reads the variable in the child, where its threads are gone: said here, it neither warns nor hangs
    global _set_here
    if _PARALLELISM not in os.environ:
        os.environ[_PARALLELISM] = "false"
        _set_here = True


def _after_fork() -> None:
    global _set_here
    if _set_here:
        os.environ.pop(_PARALLELISM, None)
        _set_here = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
