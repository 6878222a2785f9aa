"""The texts that a caller passes → one list of texts and one of their pairs' second texts; errors name the entry."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.frames import is_column, values_in
from bertie.progress import logger
from bertie.tokenization.arguments import one_of

_CHUNK = 1 << 23
"""The characters of texts whose rows are in memory together; each text counts as `_OVERHEAD` more."""
_OVERHEAD = 128
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Inputs:
    """``firsts`` are the texts (lists of words if they came pre-split), ``seconds`` the second texts of pairs."""

    firsts: list[Any]
    seconds: list[Any] | None
    batched: bool

    def chunks(self) -> Iterator["Inputs"]:
        """Yield consecutive texts, about `_CHUNK` characters at a time."""
        if sum(map(len, self.firsts)) + _OVERHEAD * len(self.firsts) <= _CHUNK:
            yield self
            return
        ends = np.cumsum([len(text) + _OVERHEAD for text in self.firsts])
        stops = np.searchsorted(ends, np.arange(_CHUNK, ends[-1], _CHUNK)) + 1
        for start, stop in pairwise(dict.fromkeys([0, *stops.tolist(), len(self.firsts)])):
            seconds = None if self.seconds is None else self.seconds[start:stop]
            yield Inputs(self.firsts[start:stop], seconds, self.batched)


def read_inputs(text: Any, text_pair: Any, split: bool, na: str) -> Inputs:
    """Read one text, one pair, a batch of texts, or a batch of pairs (also as a list of two-element tuples)."""
    one_of("na", na, ("error", "skip"))
    batched = _is_batch(text, split)
    if not batched:
        first, second = _text(text, "the text", split, na), None
        if text_pair is not None:
            second = [_text(text_pair, "the text_pair", split, na)]
        return Inputs([first], second, False)
    texts = _listed(text)
    if text_pair is None:
        return _read_batch(texts, split, na)
    if isinstance(text_pair, str) or not hasattr(text_pair, "__len__"):
        raise InputTypeError(
            f"text is a batch of {len(texts)}, so text_pair must be a list of the same length, not {text_pair!r:.60}"
        )
    pairs = _listed(text_pair)
    if len(texts) != len(pairs):
        raise InputError(f"text has {len(texts)} entries and text_pair {len(pairs)}; each text needs one text_pair")
    return Inputs(_all_texts(texts, "text", split, na), _all_texts(pairs, "text_pair", split, na), True)


def _read_batch(texts: Sequence[Any], split: bool, na: str) -> Inputs:
    if not split and set(map(type, texts)) <= {str}:  # most texts are right as they are
        return Inputs(list(texts), None, True)
    if not any(_is_pair(text, split) for text in texts):
        return Inputs(_all_texts(texts, "text", split, na), None, True)
    pairs = [text if _is_pair(text, split) else (text, None) for text in texts]
    firsts = _all_texts([first for first, _ in pairs], "text", split, na)
    seconds = [
        None if second is None and not _is_pair(text, split) else _text(second, f"the text_pair of text {i}", split, na)
        for i, (text, (_, second)) in enumerate(zip(texts, pairs, strict=True))
    ]
    return Inputs(firsts, seconds, True)


def _all_texts(texts: Sequence[Any], name: str, split: bool, na: str) -> list[Any]:
    return [_text(text, f"{name} {i}", split, na) for i, text in enumerate(texts)]


def _text(text: Any, name: str, split: bool, na: str) -> Any:
    if isinstance(text, str) and not split:
        return text
    if na == "skip" and (text is None or (isinstance(text, float) and math.isnan(text))):
        return [] if split else ""
    if split and isinstance(text, (list, tuple)):
        return [
            word if isinstance(word, str) else str(_text(word, f"word {i} of {name}", False, na))
            for i, word in enumerate(text)
        ]
    wanted = "a list of words (str), as is_split_into_words=True says" if split else "a str"
    raise InputTypeError(f"{name} is {text!r:.60} ({type(text).__name__}); it must be {wanted}{_advice(text)}")


def _advice(text: Any) -> str:
    if isinstance(text, (bytes, bytearray)):
        return "; decode it first: text.decode()"
    if text is None or isinstance(text, float):
        return '; na="skip" takes None and NaN as an empty text'
    return ""


def without_surrogates(texts: Sequence[Any], split: bool) -> Sequence[Any]:
    """Return texts, or lists of words if ``split``, with lone surrogates replaced by U+FFFD, and log it."""
    repaired: list[Any] = []
    for number, text in enumerate(texts):
        found = [_SURROGATES.subn("\ufffd", word) for word in (text if split else [text])]
        words, count = [word for word, _ in found], sum(count for _, count in found)
        if count:
            logger.warning("text %d has %d lone surrogates, read as U+FFFD", number, count)
        repaired.append(words if split else words[0])
    return repaired


def _is_batch(text: Any, split: bool) -> bool:
    if split:
        return isinstance(text, (list, tuple)) and len(text) > 0 and isinstance(text[0], (list, tuple))
    return not isinstance(text, (str, bytes, bytearray)) and (isinstance(text, Sequence) or is_column(text))


def _listed(texts: Any) -> Sequence[Any]:
    """Return lists unchanged, and columns of NumPy, pandas, polars and datasets as lists."""
    if isinstance(texts, (list, tuple)):
        return texts
    return values_in(texts)


def _is_pair(text: Any, split: bool) -> bool:
    if not isinstance(text, (list, tuple)) or len(text) != 2:
        return False
    if split:
        return isinstance(text, tuple) and all(isinstance(part, (list, tuple)) for part in text)
    return True
