"""What changes the scores of the next words before one is chosen: penalties, and words that must or must not come.

A processor takes the ids so far ``[B, S]`` and scores ``[B, V]`` and returns scores, as the reference's do.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bertie.errors import InputError

LogitsProcessor = Callable[[Tensor, Tensor], Tensor]
Tokens = Sequence[int]


@dataclass(frozen=True)
class SequenceBias:
    """Add a number to the score of a word wherever it would complete one of these sequences."""

    biases: Mapping[tuple[int, ...], float]

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        words, numbers = self._single
        bias = torch.zeros_like(scores)
        bias[:, words] = scores.new_tensor(numbers)
        for sequence, number in self.biases.items():
            before = len(sequence) - 1
            if 0 < before <= ids.shape[1]:
                fits = (ids[:, ids.shape[1] - before :] == ids.new_tensor(sequence[:-1])).all(dim=1)
                bias[:, sequence[-1]] += torch.where(fits, number, 0.0)
        return scores + bias

    @cached_property
    def _single(self) -> tuple[list[int], list[float]]:
        single = {sequence[0]: number for sequence, number in self.biases.items() if len(sequence) == 1}
        return list(single), list(single.values())


def bad_words(sequences: Sequence[Tokens], ends: Tokens) -> SequenceBias | None:
    """Return what forbids these sequences, but for the tokens that end a text; None if nothing is left to forbid."""
    biases = {tuple(words): -math.inf for words in sequences if not (len(words) == 1 and words[0] in ends)}
    return SequenceBias(biases) if biases else None


@dataclass(frozen=True)
class RepetitionPenalty:
    """Make the words of a text less likely: scores are divided by ``penalty``, negative ones multiplied.

    arXiv 1909.05858, section 4.1. ``first [B]``: the columns where the texts begin; what is before them is padding.
    """

    penalty: float
    first: Tensor | None = None

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        words = scores.shape[1]
        ids = ids.clamp(max=words)
        if self.first is not None:
            repeats = ids.shape[0] // self.first.shape[0]
            columns, first = torch.arange(ids.shape[1], device=ids.device), self.first.repeat_interleave(repeats)
            ids = ids.masked_fill(columns < first[:, None], words)
        padded = torch.nn.functional.pad(scores, (0, 1))  # a column for what is no word
        return padded.scatter(1, ids, _penalized(padded.gather(1, ids), self.penalty))[:, :words]


@dataclass(frozen=True)
class SourcePenalty:
    """Make words of the encoder's texts more likely, by the same rule."""

    penalty: float
    source: Tensor  # [B, S_encoder]

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        words = self.source.repeat_interleave(scores.shape[0] // self.source.shape[0], dim=0)
        return scores.scatter(1, words, _penalized(scores.gather(1, words), 1 / self.penalty))


def _penalized(scores: Tensor, penalty: float) -> Tensor:
    return torch.where(scores < 0, scores * penalty, scores / penalty)


@dataclass(frozen=True)
class NoRepeatedNgrams:
    """Forbid words that would let ``size`` words in a row occur twice, in a text or (``source``) in another."""

    size: int
    source: Tensor | None = None

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        texts, words = ids if self.source is None else self.source, scores.shape[1]
        texts = texts.repeat_interleave(ids.shape[0] // texts.shape[0], dim=0)
        if min(ids.shape[1] + 1, texts.shape[1]) < self.size:
            return scores
        ends = ids[:, ids.shape[1] + 1 - self.size :]
        ngrams = texts.unfold(1, self.size, 1)  # [B, number, size]
        fits = (ngrams[..., :-1] == ends[:, None]).all(dim=2)
        forbidden = torch.zeros(scores.shape[0], words + 1, dtype=torch.bool, device=scores.device)
        forbidden.scatter_(1, torch.where(fits, ngrams[..., -1].clamp(max=words), words), True)
        return scores.masked_fill(forbidden[:, :words], -math.inf)


@dataclass(frozen=True)
class Suppressed:
    """Forbid tokens while a text has from ``start`` to ``stop`` (not included) tokens."""

    tokens: Tokens
    start: int = 0
    stop: float = math.inf

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        if not self.start <= ids.shape[1] < self.stop:
            return scores
        return scores.index_fill(1, ids.new_tensor(self.tokens), -math.inf)


@dataclass(frozen=True)
class Forced:
    """Forbid all but these tokens where a text has ``length`` tokens."""

    tokens: Tokens
    length: int

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        if ids.shape[1] != self.length:
            return scores
        return torch.full_like(scores, -math.inf).index_fill(1, ids.new_tensor(self.tokens), 0.0)


@dataclass(frozen=True)
class AllowedByPrefix:
    """Forbid all words but those that a function of a text's number and ids so far returns (arXiv 2010.00904)."""

    allowed: Callable[[int, Tensor], Tokens]
    num_beams: int

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        mask = torch.full_like(scores, -math.inf)
        for row, text in enumerate(ids):
            words = self.allowed(row // self.num_beams, text)
            if len(words) == 0:
                raise InputError(
                    f"prefix_allowed_tokens_fn allows no word after {ids.shape[1]} tokens of text "
                    f"{row // self.num_beams}; it must return one at least."
                )
            mask[row, words] = 0
        found = scores + mask
        # where other processors forbid all that is allowed, in every beam of a text, what is allowed comes first
        nothing = found.amax(dim=1).isneginf().view(-1, self.num_beams).all(dim=1).repeat_interleave(self.num_beams)
        return torch.where(nothing[:, None], mask, found)


@dataclass(frozen=True)
class EndGetsLikelier:
    """Raise the scores of the tokens that end a text, from ``start`` tokens on by a growing factor."""

    ends: Tokens
    start: int
    factor: float

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        over = ids.shape[1] - self.start
        if over <= 0:
            return scores
        ends = ids.new_tensor(self.ends)
        own = scores.index_select(1, ends)
        more = (own.abs() * (self.factor**over - 1)).masked_fill(~own.isfinite(), 0.0)
        return scores.index_add(1, ends, more)


def without_invalid_numbers(ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG001  a processor's signature
    """Return scores with 0 for NaN and the largest numbers for infinities."""
    return scores.nan_to_num(nan=0.0)


def normalized(ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG001  a processor's signature
    """Return scores as log-probabilities."""
    return scores.log_softmax(dim=-1)
