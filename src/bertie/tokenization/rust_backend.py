"""Backends that the package ``tokenizers`` runs, such as the one of a ``tokenizer.json`` that is not BERT's."""

import os
from array import array
from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Encoding, PreTokenizedString, Token, Tokenizer

from bertie.errors import CheckpointError
from bertie.kernels.text_reader import Cut
from bertie.tokenization.encoding import SpecialToken, Template, Templates
from bertie.tokenization.inputs import without_surrogates
from bertie.tokenization.pieces import Details, EncodedTexts, Pieces, lazy_property


class RustBackend:
    """A `Backend` that ``tokenizers`` runs; a subclass says what ``rust`` is."""

    rust: Tokenizer
    """The model with its normalizer, pre-tokenizer and added tokens."""

    @lazy_property
    def _splitting_rust(self) -> Tokenizer:
        # a copy, because no call may change the state of `rust`
        rust = copied(self.rust)
        rust.encode_special_tokens = True
        return rust

    def encode(self, texts: Sequence[Any], pretokenized: bool, split_special: bool, cut: Cut) -> EncodedTexts:
        rust = self._splitting_rust if split_special else self.rust
        texts = without_surrogates(texts, pretokenized)
        try:
            rows = rust.encode_batch(list(texts), is_pretokenized=pretokenized, add_special_tokens=False)
        except Exception as error:  # tokenizers raises nothing more specific
            raise CheckpointError(
                f"the model of the tokenizer.json cannot encode these texts ({str(error)[:200]}); fetch the file again"
            ) from error
        return EncodedTexts.of(list(map(_pieces, rows)), cut)

    def add_tokens(self, tokens: list[str | AddedToken], special: bool) -> int:
        vars(self).pop("_splitting_rust", None)
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
    """Runs any model, normalizer and pre-tokenizer that a ``tokenizer.json`` states, without its padding and
    truncation.
    """

    def __init__(self, rust: Tokenizer) -> None:
        rust.no_padding()
        rust.no_truncation()
        self.rust = rust
        self._templates = {special: templates_of(rust, special) for special in (True, False)}

    @property
    def prefix(self) -> str | None:
        return getattr(self.rust.model, "continuing_subword_prefix", None) or None

    def templates(self, special_tokens: bool) -> Templates:
        """Return the file's templates; with other backends, the tokenizer's named special tokens determine them."""
        return self._templates[special_tokens]

    def __reduce__(self) -> tuple[Any, ...]:
        return _parsed, (self.rust.to_str(),)


def _parsed(serialized: str) -> FileBackend:
    return FileBackend(Tokenizer.from_str(serialized))


def copied(rust: Tokenizer) -> Tokenizer:
    """Return a copy that shares nothing with the original."""
    return Tokenizer.from_str(rust.to_str())


def add_tokens(rust: Tokenizer, tokens: list[str | AddedToken], special: bool) -> int:
    return int(rust.add_special_tokens(tokens) if special else rust.add_tokens(tokens))


def _pieces(row: Encoding) -> Pieces:
    return Pieces(array("q", row.ids), lambda: Details(row.tokens, row.offsets, row.word_ids))


def templates_of(rust: Tokenizer, special_tokens: bool) -> Templates:
    """Return the templates of a text and of a pair, found by letting the post-processor fill them."""
    first, second = _marker(0), _marker(1)
    single = _template(rust.post_process(first, None, add_special_tokens=special_tokens), 1)
    return single, _template(rust.post_process(first, second, add_special_tokens=special_tokens), 2)


def _marker(number: int) -> Encoding:
    """Return the encoding of a text of one token, a placeholder."""
    text = PreTokenizedString("a")
    text.tokenize(lambda _: [Token(0, "a", (0, 1))])
    return text.to_encoding(type_id=number)


def _template(row: Encoding, texts: int) -> Template:
    gaps: list[list[SpecialToken]] = [[]]
    types: list[int] = []
    if len(row.ids) != len(row.tokens):
        raise CheckpointError(
            f"the post-processor of the tokenizer.json has {len(row.ids)} ids for {len(row.tokens)} tokens; "
            "fetch the file again"
        )
    for id_, token, type_id, text in zip(row.ids, row.tokens, row.type_ids, row.sequence_ids, strict=True):
        if text is None:
            gaps[-1].append(SpecialToken(id_, token, type_id))
        elif text == len(types):
            types.append(type_id)
            gaps.append([])
        else:
            break
    if len(types) != texts or sum(map(len, gaps)) + texts != len(row):
        raise CheckpointError(
            f"the post-processor of the tokenizer turns {texts} texts 'a' into {' '.join(row.tokens)!r}; "
            "each text must appear there once, the first before the second"
        )
    return Template.of(tuple(map(tuple, gaps)), tuple(types))


_PARALLELISM = "TOKENIZERS_PARALLELISM"
_set_here = False


def _before_fork() -> None:
    # `tokenizers` reads the variable in the child, whose threads are gone: with it set, it neither warns nor hangs
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
