"""Attention in groups of texts of equal length, by ``scaled_dot_product_attention``: any device, any dtype."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.attention.request import Inputs, Request, dense_only_reasons
from bertie.packing import Packed

Integers = np.ndarray[Any, np.dtype[np.int64]]


class Grouped:
    """Texts of equal length form a small rectangle without padding, so PyTorch's fused kernel needs no mask.

    Keys may belong to another batch of as many texts: a group's texts then have equal numbers of queries and of keys.
    A text without keys gets zeros.
    """

    name = "grouped"

    def why_not(self, request: Request) -> list[str]:
        reasons = dense_only_reasons(request)
        if request.known_key_lengths:
            reasons.append("keys are in a cache, with spare capacity between texts")
        if request.compiling:
            reasons.append("text lengths are not known while a graph is captured")
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        q, k, v = inputs.q, inputs.k, inputs.v
        assert isinstance(inputs.keys, Packed)
        groups = _groups(inputs.packed.lengths, inputs.keys.lengths, q.device)
        if groups.queries is not None:
            q = q.index_select(0, groups.queries)
        if groups.keys is not None:
            k, v = (part.index_select(0, groups.keys) for part in (k, v))
        causal = inputs.causal and inputs.keys is inputs.packed
        contexts = [q[:0]]
        # split, not sliced: the gradient of each slice would be as large as the whole
        each_q = q.split([texts * length for texts, length, _ in groups.sizes])
        each_k, each_v = (part.split([texts * keys for texts, _, keys in groups.sizes]) for part in (k, v))
        for (texts, length, keys), *parts in zip(groups.sizes, each_q, each_k, each_v, strict=True):
            query, key, value = (
                part.view(texts, count, *part.shape[1:]).transpose(1, 2)
                for part, count in zip(parts, (length, keys, keys), strict=True)
            )
            if keys and length:
                query = F.scaled_dot_product_attention(query, key, value, dropout_p=inputs.dropout_p, is_causal=causal)
            else:
                query = torch.zeros_like(query)
            contexts.append(query.transpose(1, 2).reshape(texts * length, *q.shape[1:]))
        context = torch.cat(contexts)
        if groups.queries is not None:
            context = torch.zeros_like(context).index_copy(0, groups.queries, context)
        return context, None


class _Groups(NamedTuple):
    """The order of tokens in which groups are contiguous; None if they already are."""

    queries: Tensor | None
    keys: Tensor | None
    sizes: tuple[tuple[int, int, int], ...]  # of each group: the number of texts, and the queries and keys of each


@lru_cache(maxsize=256)
def _groups(queries: tuple[int, ...], keys: tuple[int, ...], device: torch.device) -> _Groups:
    """Return how texts with these numbers of queries and keys are grouped; batches sorted by length need no order."""
    counts = np.array([queries, keys], dtype=np.int64).reshape(2, -1)
    texts = np.lexsort((-counts[0], -counts[1]))
    pairs, first, sizes = np.unique(counts[:, texts], axis=1, return_index=True, return_counts=True)
    groups = [(int(sizes[i]), int(pairs[0, i]), int(pairs[1, i])) for i in np.argsort(first)]
    # cached for training too: autograd refuses tensors made in a caller's inference mode
    with torch.inference_mode(False):
        order_q, order_k = (_token_order(each, texts, device) for each in counts)
        return _Groups(order_q, order_k, tuple(groups))


def _token_order(counts: Integers, texts: Integers, device: torch.device) -> Tensor | None:
    """Return the token indices of texts of these lengths in the order ``texts``, or None if that is their own."""
    starts = counts.cumsum() - counts
    sorted_counts = counts[texts]
    offsets = np.arange(counts.sum()) - np.repeat(sorted_counts.cumsum() - sorted_counts, sorted_counts)
    order = np.repeat(starts[texts], sorted_counts) + offsets
    return None if bool((order == np.arange(len(order))).all()) else torch.from_numpy(order).to(device)
