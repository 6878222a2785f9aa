"""The vocabulary file: one token per line, whose id is the line number from 0; errors name the line."""

import os
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from bertie.errors import CheckpointError, InputError, InputTypeError, MissingVocabularyError
from bertie.files import read_bytes, shown, write_text
from bertie.messages import wrong_byte
from bertie.progress import say_once

VOCABULARY_LIMIT = 64 * 2**20
"""The maximum size of a vocabulary file in bytes: thirty times that of the multilingual BERT."""

HIGHEST_ID = 2**31 - 1
"""The kernels store an id in 32 bits."""


class Vocabulary(dict[str, int]):
    """Token → id, already checked."""


def read_vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Read ``vocab.txt``. Windows line endings, a byte-order mark and empty last lines are ignored.

    A duplicate token has the id of its last line, as in the reference, and an empty line is a token like any other
    (SciBERT's vocabulary has one); both are reported.
    """
    if not os.path.exists(path):
        raise MissingVocabularyError(f"there is no vocabulary file {shown(path)}; check the path")
    raw = read_bytes(path, "vocabulary", limit=VOCABULARY_LIMIT)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, wrong_byte(error, len(raw) - len(error.object))
        raise CheckpointError(
            f"the vocabulary file {str(path)!r} is not UTF-8 text (line {line}, {byte}); save it as UTF-8"
        ) from error
    tokens = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    if tokens == [""]:
        raise CheckpointError(f"the vocabulary file {str(path)!r} is empty; it must hold one token per line")
    vocabulary = Vocabulary(zip(tokens, count(), strict=False))
    if len(vocabulary) < len(tokens):
        line, token = next((line, token) for line, token in enumerate(tokens) if vocabulary[token] != line)
        say_once(
            f"the vocabulary file {str(path)!r} has {len(tokens) - len(vocabulary)} tokens twice; the last line counts "
            f"(for example {token!r} on lines {line + 1} and {vocabulary[token] + 1})"
        )
    if "" in vocabulary:
        say_once(
            f"the vocabulary file {str(path)!r} has an empty line {vocabulary[''] + 1}; it keeps its id, "
            "so that the following ids do not change"
        )
    return vocabulary


def write_vocabulary(path: str | os.PathLike[str], vocabulary: Mapping[str, int]) -> Path:
    """Write ``vocab.txt``, atomically."""
    ordered = sorted(vocabulary.items(), key=lambda entry: entry[1])
    for line, (token, number) in enumerate(ordered):
        if number != line:
            raise CheckpointError(
                f"the vocabulary cannot be written as {str(path)!r}: line {line + 1} would hold {token!r}, "
                f"whose id is {number}; ids must be 0, 1, 2, … without gaps"
            )
    broken = next((token for token, _ in ordered if "\n" in token or token.endswith("\r")), None)
    if broken is not None or (ordered and ordered[-1][0] == ""):
        raise CheckpointError(
            f"the vocabulary cannot be written as {str(path)!r}: the token {broken or ''!r} does not fit on one line"
        )
    write_text(path, "".join(token + "\n" for token, _ in ordered))
    return Path(path)


def check_vocabulary(vocabulary: Mapping[str, int], named: Mapping[str, object], source: str) -> None:
    """Refuse a vocabulary without the special tokens that every text needs."""
    for name in ("unk_token", "cls_token", "sep_token"):
        if name not in named:
            raise CheckpointError(
                f"{name} is None, in the call or in the tokenizer's files, but BERT needs it; "
                f"name a token of {source} ({name}=...)"
            )
        token = str(named[name])
        if token not in vocabulary:
            raise CheckpointError(
                f"{source} has no token {token!r}; add it, or name the token to use instead ({name}=...)"
            )


def check_added_ids(added: Mapping[str, int], named: Mapping[int, object]) -> None:
    """Refuse added tokens that did not get the ids that a file states: ids would then mean other tokens."""
    for number, token in named.items():
        if added.get(str(token)) != number:
            raise CheckpointError(
                f"the added token {str(token)!r} has the id {number} in the tokenizer's files, but would get "
                f"{added.get(str(token))}; added ids must follow the vocabulary's without gaps"
            )


def given_vocabulary(
    vocab: str | os.PathLike[str] | Mapping[str, int] | None,
    vocab_file: str | os.PathLike[str] | Mapping[str, int] | None,
    defaults: Sequence[str],
) -> tuple[dict[str, int], str]:
    """Return the vocabulary given under either name, or one of ``defaults``, and its name for error messages."""
    if vocab is not None and vocab_file is not None:
        raise InputError("vocab and vocab_file are two names of one argument; give one of them")
    given = vocab if vocab is not None else vocab_file
    if given is None:
        return {token: number for number, token in enumerate(dict.fromkeys(defaults))}, "the vocabulary"
    if isinstance(given, (str, os.PathLike)):
        return read_vocabulary(given), f"the vocabulary file {str(given)!r}"
    if isinstance(given, Vocabulary):
        return given, "the vocabulary"
    if not isinstance(given, Mapping) or not all(isinstance(token, str) for token in given):
        raise InputTypeError(f"vocab is {given!r:.60}; it must be the path of a vocab.txt or a dict of token → id")
    for token, number in given.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= HIGHEST_ID:
            raise InputTypeError(
                f"vocab gives the token {token!r} the id {number!r}; ids are integers from 0 to {HIGHEST_ID}"
            )
    return dict(given), "the vocabulary"
