"""Attention with the whole score matrix, for calls that need it: weights, masks of any shape, score biases, caches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.attention.cache_layer import CachedKeys
from bertie.attention.request import Inputs, Request, ScoreBias
from bertie.engine.attention import distance_buckets
from bertie.errors import InputError
from bertie.packing import Packed


class Dense:
    """Queries and keys padded to rectangles ``[B, H, S, K]``; scores, softmax and dropout as in the paper (3.1)."""

    name = "dense"

    def why_not(self, request: Request) -> list[str]:  # noqa: ARG002
        return []

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        packed, keys = inputs.packed, inputs.keys
        query = packed.pad(inputs.q).transpose(1, 2)
        if isinstance(keys, CachedKeys):
            key, value = (_rows(part, keys).transpose(1, 2) for part in (inputs.k, inputs.v))
            mask: Tensor | None = _mask_of_cache(packed, keys, inputs.causal, query.dtype)
        else:
            key, value = (part if part.dim() == 4 else keys.pad(part).transpose(1, 2) for part in (inputs.k, inputs.v))
            causal = inputs.causal and keys is packed
            mask = additive_mask(packed, keys, causal, key.shape[2], query.dtype)
        context, weights = attend_rectangles(
            query,
            key,
            value,
            mask,
            dropout_p=inputs.dropout_p,
            score_bias=inputs.score_bias,
            weights=inputs.weights,
            real=real_token_mask(packed) if inputs.weights else None,
        )
        return packed.unpad(context), weights


def _rows(part: Tensor, keys: CachedKeys) -> Tensor:
    """``[B * capacity, H, K]`` of a cache as ``[B, S_keys, H, K]``."""
    texts, longest = keys.shape
    return part.view(texts, keys.capacity, *part.shape[1:])[:, :longest]


def _mask_of_cache(packed: Packed, keys: CachedKeys, causal: bool, dtype: torch.dtype) -> Tensor:
    """Return the additive mask of a cache's spare capacity and, if causal, of the keys after each query."""
    counts = torch.tensor(keys.lengths, device=packed.device)[:, None]  # of the keys visible to a query
    if causal:
        ends = packed.cu_seqlens[1:].long()
        after = ends.repeat_interleave(packed.cu_seqlens.diff(), output_size=packed.num_tokens)
        after = after - 1 - torch.arange(packed.num_tokens, device=packed.device)
        counts = counts - packed.pad(after)
    columns = torch.arange(keys.shape[1], device=packed.device)
    return to_additive(columns < counts[:, None, :, None], dtype)


def attend_rectangles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    dropout_p: float = 0.0,
    score_bias: ScoreBias | None = None,
    weights: bool = False,
    real: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Attention of queries ``[B, H, S, K]`` to keys ``[B, H, S_keys, K]``: the context ``[B, S, H, K]`` and weights.

    A mask is bool (True: attend) or floats added to the scores; weights are 0 where ``real [B, S]`` is False.
    """
    if mask is not None and mask.dtype == torch.bool:
        mask = to_additive(mask, query.dtype)
    elif mask is not None and mask.dtype != query.dtype:  # the lowest float32 would be -inf in half precision
        mask = mask.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
    if score_bias is not None:
        bias = score_bias(query, key)
        mask = bias if mask is None else mask + bias
    if not weights:
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout_p)
        return context.transpose(1, 2), None
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    probabilities = torch.softmax(scores if mask is None else scores + mask, dim=-1)
    probabilities = F.dropout(probabilities, dropout_p)
    if real is not None:
        probabilities = probabilities * real[:, None, :, None]
    return (probabilities @ value).transpose(1, 2), probabilities


def additive_mask(packed: Packed, keys: Packed, causal: bool, key_length: int, dtype: torch.dtype) -> Tensor | None:
    """Return what to add to the scores, broadcastable to ``[B, H, S, S_keys]``, or None if nothing is masked."""
    # the batch's own mask is complete; otherwise, keys beyond the rectangle's width are a cache's, and all visible
    own_mask = keys.attention_mask
    if own_mask is not None:
        return own_mask.to(dtype) if own_mask.is_floating_point() else to_additive(own_mask, dtype)
    width, device = packed.shape[1], packed.device
    visible = None
    if keys.flat_index is not None:
        ones = torch.ones(keys.num_tokens, dtype=torch.bool, device=device)
        visible = F.pad(keys.pad(ones), (key_length - keys.shape[1], 0), value=True)[:, None, None, :]
    if causal:
        past = torch.ones(width, key_length, dtype=torch.bool, device=device).tril(key_length - width)
        visible = past if visible is None else visible & past
    return None if visible is None else to_additive(visible, dtype)


def to_additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    # The lowest finite number, not -inf, so that a row with nothing visible stays finite.
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)


def real_token_mask(packed: Packed) -> Tensor | None:
    """Return bool ``[B, S]``, False for padding; None if there is none."""
    if packed.flat_index is None and packed.token_mask is None:
        return None
    return packed.pad(torch.ones(packed.num_tokens, dtype=torch.bool, device=packed.device))


class RelativePositions:
    """Adds scores from learned vectors of relative distances (arXiv 1803.02155; 2009.13658, methods 3 and 4)."""

    def __init__(self, kind: str, max_positions: int) -> None:
        self.with_key_term = kind == "relative_key_query"
        self.max_positions = max_positions

    def score_bias(self, embedding: Tensor) -> ScoreBias:
        """Return the `ScoreBias` for the table ``[2 * max_positions - 1, K]`` of distances."""

        def bias(query: Tensor, key: Tensor) -> Tensor:
            if key.shape[2] > self.max_positions:
                raise InputError(
                    f"A text of {key.shape[2]} columns is longer than max_position_embeddings = {self.max_positions}, "
                    "beyond which the model has no relative positions; truncate it or split it into windows."
                )
            keys = torch.arange(key.shape[2], device=query.device)
            queries = keys[key.shape[2] - query.shape[2] :]
            vectors = embedding[queries[:, None] - keys[None, :] + self.max_positions - 1].to(query.dtype)
            scores = torch.einsum("bhqk,qsk->bhqs", query, vectors)
            if self.with_key_term:
                scores = scores + torch.einsum("bhsk,qsk->bhqs", key, vectors)
            return scores * query.shape[-1] ** -0.5

        return bias


class PositionBuckets:
    """Adds a bias for each bucket of relative distances and head, from one table for all blocks."""

    def __init__(self, table: nn.Embedding) -> None:
        self.table = table

    def score_bias(self) -> ScoreBias:
        """Return the `ScoreBias` of the table."""

        def bias(query: Tensor, key: Tensor) -> Tensor:
            buckets = torch.from_numpy(distance_buckets(query.shape[2], key.shape[2])).to(query.device)
            return self.table(buckets).permute(2, 0, 1)[None].to(query.dtype)

        return bias
