"""Logits processors: penalties, biases, and forbidden or forced tokens.

A processor takes the ids so far ``[B, S]`` and scores ``[B, V]`` and returns scores, as the reference's do: PyTorch
tensors of a model, or NumPy arrays of the engine.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.generation.functions import Values, functions_of
from bertie.messages import short

LogitsProcessor = Callable[[Values, Values], Values]
Tokens = Sequence[int]


def _columns(tokens: Tokens, scores: Values) -> list[int]:
    """Return the tokens as columns of ``scores [B, V]``; raise InputError for one outside the vocabulary."""
    size = scores.shape[1]
    if (wrong := next((token for token in tokens if token >= size), None)) is not None:
        raise InputError(
            f"The generation config names the token {wrong}, but the model's vocabulary has 0 to {size - 1}; correct "
            "the field that holds it (eos_token_id, pad_token_id, bad_words_ids, suppress_tokens or another)."
        )
    return list(tokens)


@dataclass(frozen=True)
class KnownTokens:
    """Refuse tokens outside the vocabulary, such as an end token that could never be generated."""

    tokens: Tokens

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        _columns(self.tokens, scores)
        return scores


@dataclass(frozen=True)
class SequenceBias:
    """Add a bias to the score of a token that would complete one of the sequences."""

    biases: Mapping[tuple[int, ...], float]

    def __call__(self, ids: Values, scores: Values) -> Values:
        xp = functions_of(scores)
        bias = xp.full(scores, tuple(scores.shape), 0.0)
        for sequence, number in self.biases.items():
            before, (last,) = len(sequence) - 1, _columns(sequence[-1:], scores)
            if before == 0:
                bias[:, last] = number
            elif before <= ids.shape[1]:
                matches = (ids[:, ids.shape[1] - before :] == xp.ids(ids, sequence[:-1])).all(axis=1)
                bias[:, last] += xp.where(matches, number, 0.0)
        return scores + bias


@dataclass(frozen=True)
class RepetitionPenalty:
    """Make the tokens of a text less probable: scores are divided by ``penalty``, negative ones multiplied.

    arXiv 1909.05858, section 4.1. ``first [B]``: the columns where the texts begin, after any padding.
    """

    penalty: float
    first: Values | None = None

    def __call__(self, ids: Values, scores: Values) -> Values:
        xp, vocab_size = functions_of(scores), scores.shape[1]
        ids = ids.clip(max=vocab_size)
        if self.first is not None:
            columns = xp.ids(ids, range(ids.shape[1]))
            first = xp.repeat(self.first, ids.shape[0] // self.first.shape[0])
            ids = xp.where(columns < first[:, None], vocab_size, ids)
        padded = xp.concat([scores, xp.full(scores, (scores.shape[0], 1), 0.0)])  # a dummy column
        return xp.put(padded, ids, _penalized(xp.take(padded, ids), self.penalty))[:, :vocab_size]


@dataclass(frozen=True)
class EncoderRepetitionPenalty:
    """Make tokens of the encoder's texts more probable, by the same rule."""

    penalty: float
    source: Values  # [B, S_encoder]

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        xp = functions_of(scores)
        tokens = xp.repeat(self.source, scores.shape[0] // self.source.shape[0])
        return xp.put(scores, tokens, _penalized(xp.take(scores, tokens), 1 / self.penalty))


def _penalized(scores: Values, penalty: float) -> Values:
    return functions_of(scores).where(scores < 0, scores * penalty, scores / penalty)


@dataclass(frozen=True)
class NoRepeatNgram:
    """Forbid tokens that would repeat an n-gram of ``size`` tokens of the text, or of ``source`` if given."""

    size: int
    source: Values | None = None

    def __call__(self, ids: Values, scores: Values) -> Values:
        xp, vocab_size = functions_of(scores), scores.shape[1]
        texts = ids if self.source is None else self.source
        texts = xp.repeat(texts, ids.shape[0] // texts.shape[0])
        if min(ids.shape[1] + 1, texts.shape[1]) < self.size:
            return scores
        ends = ids[:, ids.shape[1] + 1 - self.size :]
        ngrams = xp.ngrams(texts, self.size)  # [B, number, size]
        matches = (ngrams[..., :-1] == ends[:, None]).all(axis=2)
        forbidden = xp.where(matches, ngrams[..., -1].clip(max=vocab_size), vocab_size)
        padded = xp.concat([scores, xp.full(scores, (scores.shape[0], 1), 0.0)])  # a dummy column
        return xp.put(padded, forbidden, -math.inf)[:, :vocab_size]


@dataclass(frozen=True)
class SuppressTokens:
    """Forbid tokens while a text has at least ``start`` and fewer than ``stop`` tokens."""

    tokens: Tokens
    start: int = 0
    stop: float = math.inf

    def __call__(self, ids: Values, scores: Values) -> Values:
        if not self.start <= ids.shape[1] < self.stop:
            return scores
        scores = functions_of(scores).copy(scores)
        scores[:, _columns(self.tokens, scores)] = -math.inf
        return scores


@dataclass(frozen=True)
class ForceTokens:
    """Forbid all other tokens when a text has ``length`` tokens."""

    tokens: Tokens
    length: int

    def __call__(self, ids: Values, scores: Values) -> Values:
        if ids.shape[1] != self.length:
            return scores
        scores = functions_of(scores).full(scores, tuple(scores.shape), -math.inf)
        scores[:, _columns(self.tokens, scores)] = 0.0
        return scores


@dataclass(frozen=True)
class PrefixConstraint:
    """Forbid all tokens except those that a function of a text's index and ids so far returns (arXiv 2010.00904)."""

    allowed: Callable[[int, Values], Tokens]
    num_beams: int

    def __call__(self, ids: Values, scores: Values) -> Values:
        xp = functions_of(scores)
        mask = xp.full(scores, tuple(scores.shape), -math.inf)
        for row, text in enumerate(ids):
            mask[row, xp.ids(ids, self._allowed_tokens(row // self.num_beams, text, scores.shape[1]))] = 0
        found = scores + mask
        # if other processors forbid every allowed token in all beams of a text, the constraint wins
        nothing = (found == -math.inf).all(axis=1).reshape(-1, self.num_beams).all(axis=1)
        return xp.where(xp.repeat(nothing, self.num_beams)[:, None], mask, found)

    def _allowed_tokens(self, number: int, text: Values, size: int) -> NDArray[Any]:
        """Return the tokens allowed after a text, checked."""
        given = self.allowed(number, text)
        rows = given.tolist() if hasattr(given, "tolist") else given
        tokens = np.asarray(list(rows) if isinstance(rows, Iterable) else rows)
        if tokens.size == 0:
            raise InputError(
                f"prefix_allowed_tokens_fn allows no token after {len(text)} tokens of text {number}; it must return "
                "at least one."
            )
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or tokens.min() < 0 or tokens.max() >= size:
            raise InputError(
                f"prefix_allowed_tokens_fn returned {short(given)} for text {number}; it must return token ids "
                f"from 0 to {size - 1}."
            )
        return tokens


@dataclass(frozen=True)
class ExponentialDecayLengthPenalty:
    """Raise the scores of end tokens by a factor that grows exponentially from ``start`` tokens on."""

    ends: Tokens
    start: int
    factor: float

    def __call__(self, ids: Values, scores: Values) -> Values:
        over = ids.shape[1] - self.start
        if over <= 0:
            return scores
        xp, ends = functions_of(scores), _columns(self.ends, scores)
        scores = xp.copy(scores)
        own = scores[:, ends]
        scores[:, ends] = xp.where(xp.isfinite(own), own + abs(own) * (self.factor**over - 1), own)
        return scores


def remove_invalid_values(ids: Values, scores: Values) -> Values:  # noqa: ARG001  a processor's signature
    return functions_of(scores).nan_to_num(scores)


def renormalize(ids: Values, scores: Values) -> Values:  # noqa: ARG001  a processor's signature
    return functions_of(scores).log_softmax(scores)
