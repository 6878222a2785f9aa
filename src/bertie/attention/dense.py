"""Attention with the whole score matrix, for what needs one: weights, masks of any shape, caches, other keys."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.attention.request import Inputs, Request
from bertie.packing import Packed


class Dense:
    """Queries and keys laid out as rectangles ``[B, H, S, K]``; scores, softmax, dropout as in the paper (3.1)."""

    name = "dense"

    def why_not(self, request: Request) -> list[str]:  # noqa: ARG002
        return []

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        packed, keys, dropout_p = inputs.packed, inputs.keys, inputs.dropout_p
        query = packed.pad(inputs.q).transpose(1, 2)
        key, value = (part if part.dim() == 4 else keys.pad(part).transpose(1, 2) for part in (inputs.k, inputs.v))
        mask = additive_mask(packed, keys, inputs.causal and keys is packed, key.shape[2], query.dtype)
        if inputs.score_bias is not None:
            bias = inputs.score_bias(query, key)
            mask = bias if mask is None else mask + bias
        if not inputs.weights:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout_p)
            return packed.unpad(context.transpose(1, 2)), None
        scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
        probabilities = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        probabilities = F.dropout(probabilities, dropout_p)
        context = packed.unpad((probabilities @ value).transpose(1, 2))
        return context, _blank_padding(probabilities, packed)


def additive_mask(packed: Packed, keys: Packed, causal: bool, key_length: int, dtype: torch.dtype) -> Tensor | None:
    """Return what to add to the scores, broadcastable to ``[B, H, S, S_keys]``, or None if nothing is masked.

    A mask that the batch carries is complete. Otherwise keys that are padding are masked, and, if causal, keys after
    the query; ``key_length`` may exceed the rectangle's width by the length of a cache, all of which is visible.
    """
    given = keys.attention_mask
    if given is not None:
        return given.to(dtype) if given.is_floating_point() else _to_additive(given, dtype)
    width, device = packed.shape[1], packed.device
    visible = None
    if keys.cells is not None:
        ones = torch.ones(keys.num_tokens, dtype=torch.bool, device=device)
        visible = F.pad(keys.pad(ones), (key_length - keys.shape[1], 0), value=True)[:, None, None, :]
    if causal:
        past = torch.ones(width, key_length, dtype=torch.bool, device=device).tril(key_length - width)
        visible = past if visible is None else visible & past
    return None if visible is None else _to_additive(visible, dtype)


def _to_additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    # The lowest finite number, not -inf: a row with nothing visible stays finite.
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)


def _blank_padding(probabilities: Tensor, packed: Packed) -> Tensor:
    if packed.cells is None and packed.token_mask is None:
        return probabilities
    real = packed.pad(torch.ones(packed.num_tokens, dtype=torch.bool, device=packed.device))
    return probabilities * real[:, None, :, None]
