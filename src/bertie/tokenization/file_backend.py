"""The engine of tokenizers that are not BERT's: what a ``tokenizer.json`` states, run by the package ``tokenizers``."""

from array import array
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Encoding, PreTokenizedString, Token, Tokenizer

from bertie.errors import CheckpointError
from bertie.tokenization.encoding import Frame, Frames, Special
from bertie.tokenization.pieces import Block, KnownPieces, LatePieces, Pieces


class FileBackend:
    """Text → pieces, by any model, normalizer and pre-tokenizer. Encoding changes nothing in it.

    Args:
        rust: is run as it stands, but for its padding and truncation, which are taken off.
    """

    def __init__(self, rust: Tokenizer) -> None:
        rust.no_padding()
        rust.no_truncation()
        self.rust = rust
        self._frames = {special: frames_of(rust, special) for special in (True, False)}
        self._plain: Tokenizer | None = None

    @classmethod
    def copied(cls, rust: Tokenizer) -> "FileBackend":
        """Return the engine of a copy, so that what becomes of ``rust`` changes nothing here."""
        return cls(Tokenizer.from_str(rust.to_str()))

    def frames(self, special_tokens: bool) -> Frames:
        """Return what stands around texts."""
        return self._frames[special_tokens]

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        """As `BertBackend.add_tokens`."""
        self._plain = None
        return int(self.rust.add_special_tokens(tokens) if special else self.rust.add_tokens(tokens))

    def pieces(self, texts: Sequence[Any], split: bool, plain: bool) -> Sequence[Pieces]:
        """As `BertBackend.pieces`."""
        rust = self._reading_plainly() if plain else self.rust
        try:
            rows = rust.encode_batch(list(texts), is_pretokenized=split, add_special_tokens=False)
        except Exception as error:  # tokenizers raises nothing more special
            raise CheckpointError(
                f"the model of the tokenizer.json cannot cut these texts ({str(error)[:200]}); fetch the file again"
            ) from error
        return Block.of([_pieces(row) for row in rows])

    def full(self) -> Tokenizer:
        """As `BertBackend.full`."""
        return Tokenizer.from_str(self.rust.to_str())

    def _reading_plainly(self) -> Tokenizer:
        """Return a copy that cuts special tokens in texts like any other text."""
        if self._plain is None:
            rust = self.full()
            rust.encode_special_tokens = True
            self._plain = rust
        return self._plain

    def __reduce__(self) -> tuple[Any, ...]:
        return _parsed, (self.rust.to_str(),)


def _parsed(serialized: str) -> FileBackend:
    return FileBackend(Tokenizer.from_str(serialized))


def _pieces(row: Encoding) -> Pieces:
    ids = array("q", row.ids)
    return LatePieces(ids, lambda: KnownPieces(ids, row.tokens, row.offsets, row.word_ids))


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
