"""Attention in groups of texts of equal length, through ``scaled_dot_product_attention``: any device, any dtype."""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.attention.request import Inputs, Request, needs_a_matrix


class Grouped:
    """Texts of equal length form a small rectangle without padding, so the fused kernel needs no mask."""

    name = "grouped"

    def why_not(self, request: Request) -> list[str]:
        reasons = needs_a_matrix(request)
        if request.compiling:
            reasons.append("text lengths are not known while a graph is captured")
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        q, k, v = inputs.q, inputs.k, inputs.v
        order, sizes = _groups(inputs.packed.lengths, q.device)
        if order is not None:
            q, k, v = (part.index_select(0, order) for part in (q, k, v))
        contexts, start = [], 0
        for count, length in sizes:
            stop = start + count * length
            query, key, value = (
                part[start:stop].view(count, length, *part.shape[1:]).transpose(1, 2) for part in (q, k, v)
            )
            context = F.scaled_dot_product_attention(
                query, key, value, dropout_p=inputs.dropout_p, is_causal=inputs.causal
            )
            contexts.append(context.transpose(1, 2).reshape(stop - start, *q.shape[1:]))
            start = stop
        context = torch.cat(contexts) if contexts else torch.zeros_like(q)
        if order is not None:
            context = torch.zeros_like(context).index_copy(0, order, context)
        return context, None


@lru_cache(maxsize=256)
def _groups(lengths: tuple[int, ...], device: torch.device) -> tuple[Tensor | None, tuple[tuple[int, int], ...]]:
    """Return the order of tokens that brings texts of equal length together, and (texts, length) of each group.

    The order is None if they already lie together, so that batches sorted by length are attended to without a copy.
    """
    counts = np.array(lengths, dtype=np.int64)
    starts = counts.cumsum() - counts
    texts = np.argsort(-counts, kind="stable")
    sorted_counts = counts[texts]
    offsets = np.arange(counts.sum()) - np.repeat(sorted_counts.cumsum() - sorted_counts, sorted_counts)
    order = np.repeat(starts[texts], sorted_counts) + offsets
    values, sizes = np.unique(sorted_counts[sorted_counts > 0], return_counts=True)
    groups = tuple((int(size), int(value)) for value, size in zip(values[::-1], sizes[::-1], strict=True))
    in_place = bool((order == np.arange(len(order))).all())
    # remembered for calls that train: a tensor born in a caller's inference mode is refused by autograd
    with torch.inference_mode(False):
        return None if in_place else torch.from_numpy(order).to(device), groups
