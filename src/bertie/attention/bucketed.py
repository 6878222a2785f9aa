"""Attention with dropout on a CPU: texts of similar length in one masked rectangle, so that few calls are made.

Letters: B texts, T tokens, H heads, K head width; n texts of a bucket, L the length of its longest.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bertie.attention.grouped import token_order
from bertie.attention.request import Inputs, Request, needs_a_matrix
from bertie.dropout import dropout

# A call with its gradient takes as long as so many scores of one head: with fewer padded ones it pays to share it.
SCORES = 6_144


class Bucketed:
    """The score matrix is computed as it is written in the paper, for texts of similar length together.

    PyTorch's fused kernel has no dropout on a CPU, and what takes its place there makes a dozen small operations for
    every group of equal length. Padding inside a bucket is masked, and left out of the result.
    """

    name = "bucketed"

    def why_not(self, request: Request) -> list[str]:
        reasons = needs_a_matrix(request)
        if request.dropout_p == 0:
            reasons.append("without dropout the fused kernel is faster")
        if request.device != "cpu":
            reasons.append("it is made for a CPU")
        if request.foreign_keys:
            reasons.append("keys belong to another batch")
        if request.compiling:
            reasons.append("text lengths are not known while a graph is captured")
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        buckets, order = _buckets(inputs.packed.lengths)
        parts = [inputs.q, inputs.k, inputs.v]
        if order is not None:
            parts = [_Taken.apply(part, order) for part in parts]
        sizes = [bucket.tokens for bucket in buckets]
        split = [part.split(sizes) for part in parts]
        contexts = [
            _attend(bucket, q, k, v, inputs.causal, inputs.dropout_p)
            for bucket, q, k, v in zip(buckets, *split, strict=True)
        ]
        context = torch.cat(contexts) if contexts else inputs.q[:0]
        return context if order is None else torch.zeros_like(context).index_copy(0, order, context), None


class _Bucket(NamedTuple):
    """``texts`` texts of at most ``longest`` tokens, ``tokens`` in all.

    ``cells`` ``[tokens]`` are those that hold a token in their rectangle, ``hidden`` ``[n, 1, L]`` is what is added to
    the scores: minus infinity for padding. Both are None where the texts are of equal length.
    """

    texts: int
    longest: int
    tokens: int
    cells: Tensor | None
    hidden: Tensor | None


class _Taken(torch.autograd.Function):
    """``values[places]`` for places that differ: their gradient is a copy, not a sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.shape = values.shape
        return values.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.shape).index_copy(0, places, grads[0]), None


def _attend(bucket: _Bucket, q: Tensor, k: Tensor, v: Tensor, causal: bool, dropout_p: float) -> Tensor:
    """Return the context ``[tokens, H, K]`` of one bucket."""
    heads, width = q.shape[1:]
    query, key, value = (_rectangle(part, bucket) for part in (q, k, v))
    scores = torch.matmul(query * width**-0.5, key.transpose(2, 3))
    if bucket.hidden is not None:
        scores = scores + bucket.hidden[:, None].to(scores.dtype)
    if causal:
        later = torch.ones(bucket.longest, bucket.longest, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
    weights = dropout(torch.softmax(scores, dim=-1), dropout_p)
    context = torch.matmul(weights, value).transpose(1, 2).reshape(bucket.texts * bucket.longest, heads, width)
    return context if bucket.cells is None else _Taken.apply(context, bucket.cells)


def _rectangle(part: Tensor, bucket: _Bucket) -> Tensor:
    """``[tokens, H, K]`` as ``[n, H, L, K]``."""
    if bucket.cells is not None:
        blank = part.new_zeros(bucket.texts * bucket.longest, *part.shape[1:])
        part = blank.index_copy(0, bucket.cells, part)
    return part.view(bucket.texts, bucket.longest, *part.shape[1:]).transpose(1, 2)


@lru_cache(maxsize=256)
def _buckets(lengths: tuple[int, ...]) -> tuple[list[_Bucket], Tensor | None]:
    """Return the buckets of texts with these lengths, and the order of their tokens, None if they lie so already.

    Texts come longest first; a bucket ends where its padding would cost more than another call.
    """
    counts = np.array(lengths, dtype=np.int64)
    texts = np.argsort(-counts, kind="stable")
    texts = texts[counts[texts] > 0]
    # remembered for calls that train: a tensor born in a caller's inference mode is refused by autograd
    with torch.inference_mode(False):
        buckets = [_bucket(part) for part in _cut(counts[texts].tolist())]
        return buckets, token_order(counts, texts, torch.device("cpu"))


def _cut(falling: Sequence[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    padding = 0
    for length in falling:
        longest = parts[-1][0] if parts else 0
        padding += longest**2 - length**2
        if not parts or padding > SCORES:
            parts.append([])
            padding = 0
        parts[-1].append(length)
    return parts


def _bucket(lengths: Sequence[int]) -> _Bucket:
    texts, longest, tokens = len(lengths), lengths[0], sum(lengths)
    if lengths[-1] == longest:
        return _Bucket(texts, longest, tokens, None, None)
    real = torch.arange(longest) < torch.tensor(lengths)[:, None]
    hidden = torch.zeros(real.shape).masked_fill(~real, float("-inf"))[:, None]
    return _Bucket(texts, longest, tokens, real.flatten().nonzero().squeeze(1), hidden)
