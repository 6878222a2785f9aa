"""The attention sub-layers of a block: projections around ``attend``, with residual and normalisation after."""

from typing import Any

import torch
from torch import Tensor, nn

from bertie.attention import attend
from bertie.attention.cache import extend
from bertie.config import BertConfig
from bertie.layers.dropout import Dropout
from bertie.layers.linear import linear, linears
from bertie.layers.relative import RelativePositions
from bertie.layers.residual import BertResidual
from bertie.packing import Packed


class _Attention(nn.Module):
    """What self- and cross-attention share: three projections and how they are cut into heads."""

    def __init__(self, config: BertConfig, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)
        self.config = config

    def heads(self, projected: Tensor) -> Tensor:
        """``[T, D]`` to ``[T, H, K]``."""
        return projected.view(projected.shape[0], self.num_attention_heads, self.attention_head_size)

    @property
    def backend(self) -> str | None:
        """The backend that must attend; None leaves the choice to `attend`."""
        return "dense" if self.config._attn_implementation == "eager" else None

    @property
    def dropout_p(self) -> float:
        return self.dropout.p if self.training else 0.0


class BertSelfAttention(_Attention):
    """Every token of a text attends to its text, or, in a decoder, to itself and what stands before it."""

    def __init__(self, config: BertConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.is_causal = config.is_decoder
        self.distances: RelativePositions | None = None
        if config.position_embedding_type != "absolute":
            self.distances = RelativePositions(config.position_embedding_type, config.max_position_embeddings)
            self.distance_embedding = nn.Embedding(2 * config.max_position_embeddings - 1, self.attention_head_size)

    def forward(self, hidden_states: Tensor, packed: Packed, cache: Any, weights: bool) -> tuple[Tensor, Tensor | None]:
        q, k, v = map(self.heads, linears(hidden_states, self.query, self.key, self.value))
        if cache is not None:
            own = getattr(cache, "self_attention_cache", cache)
            k, v = extend(own, packed.pad(k).transpose(1, 2), packed.pad(v).transpose(1, 2), self.layer_idx)
        bias = None if self.distances is None else self.distances.score_bias(self.distance_embedding.weight)
        context, attention = attend(
            q,
            k,
            v,
            packed,
            causal=self.is_causal,
            dropout_p=self.dropout_p,
            score_bias=bias,
            weights=weights,
            backend=self.backend,
        )
        return context.flatten(1), attention

    def first_tokens(self, first: Tensor, hidden_states: Tensor, packed: Packed) -> Tensor:
        """Return the context ``[B, D]`` of each text's ``first`` token ``[B, D]``, which attends to its whole text."""
        q = self.heads(linear(first, self.query))
        k, v = map(self.heads, linears(hidden_states, self.key, self.value))
        context, _ = attend(q, k, v, packed.firsts(), keys=packed, dropout_p=self.dropout_p)
        return context.flatten(1)


class BertCrossAttention(_Attention):
    """Every token of a decoder's text attends to the encoder's hidden states of the same text."""

    def forward(
        self, hidden_states: Tensor, packed: Packed, encoder: Packed, cache: Any, weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        q = self.heads(linear(hidden_states, self.query))
        k, v = self.keys_and_values(encoder, cache)
        context, attention = attend(q, k, v, packed, keys=encoder, dropout_p=self.dropout_p, weights=weights)
        return context.flatten(1), attention

    def keys_and_values(self, encoder: Packed, cache: Any) -> tuple[Tensor, Tensor]:
        """Project the encoder's hidden states, or take what an encoder-decoder cache keeps of them."""
        updated = getattr(cache, "is_updated", None)
        if updated is not None and updated.get(self.layer_idx):
            # Appending nothing is how a cache of any make is read through ``update`` alone.
            none = torch.empty(encoder.shape[0], self.num_attention_heads, 0, self.attention_head_size)
            none = none.to(self.key.weight.device, self.key.weight.dtype)
            return extend(cache.cross_attention_cache, none, none, self.layer_idx)
        assert encoder.inputs_embeds is not None
        k, v = map(self.heads, linears(encoder.inputs_embeds, self.key, self.value))
        if updated is not None:
            k, v = (encoder.pad(part).transpose(1, 2) for part in (k, v))
            k, v = extend(cache.cross_attention_cache, k, v, self.layer_idx)
            updated[self.layer_idx] = True
        return k, v


class BertAttention(nn.Module):
    """Either kind of attention with its end: ``attention`` and ``crossattention`` of the checkpoints."""

    def __init__(self, config: BertConfig, attention: BertSelfAttention | BertCrossAttention) -> None:
        super().__init__()
        self.self = attention
        self.output = BertResidual(config, config.hidden_size)

    def forward(self, hidden_states: Tensor, *around: Any) -> tuple[Tensor, Tensor | None]:
        """Take the hidden states ``[T, D]`` and whatever else the attention takes."""
        context, weights = self.self(hidden_states, *around)
        return self.output(context, hidden_states), weights
