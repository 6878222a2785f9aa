"""One transformer block: attention, in a decoder cross-attention, and feed-forward, each with its residual."""

from typing import Any

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.layers.attention import BertAttention, BertCrossAttention, BertSelfAttention
from bertie.layers.feed_forward import BertIntermediate
from bertie.layers.linear import has_hooks
from bertie.layers.residual import BertResidual
from bertie.packing import Packed, capturing


class BertLayer(nn.Module):
    """``[T, D]`` to ``[T, D]``, with the weights of self- and cross-attention if they are asked for."""

    def __init__(self, config: BertConfig, layer_idx: int) -> None:
        super().__init__()
        self.attention = BertAttention(config, BertSelfAttention(config, layer_idx))
        self.crossattention = None
        if config.add_cross_attention:
            self.crossattention = BertAttention(config, BertCrossAttention(config, layer_idx))
        self.intermediate = BertIntermediate(config)
        self.output = BertResidual(config, config.intermediate_size)

    def forward(
        self, hidden_states: Tensor, packed: Packed, encoder: Packed | None, cache: Any, weights: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        attended, attention = self.attention(hidden_states, packed, cache, weights)
        cross_attention = None
        if encoder is not None:
            if self.crossattention is None:
                raise InputError("encoder_hidden_states need a model made with config.add_cross_attention=True.")
            attended, cross_attention = self.crossattention(attended, packed, encoder, cache, weights)
        return self.output(self.intermediate(attended), attended), attention, cross_attention

    def first_tokens(self, hidden_states: Tensor, packed: Packed) -> Tensor:
        """Return the first member of ``forward`` for each text's first token alone, ``[B, D]``.

        The other tokens are read, as keys and values, but nothing else is computed of them.
        """
        attention: Any = self.attention
        first = packed.first(hidden_states)
        attended = attention.output(attention.self.first_tokens(first, hidden_states, packed), first)
        return self.output(self.intermediate(attended), attended)

    def can_skip(self, packed: Packed) -> bool:
        """Whether `first_tokens` gives what ``forward`` would: no mask of its own, no decoder, no one looking in."""
        own: Any = self.attention.self
        return (
            not own.is_causal
            and own.distances is None
            and own.backend is None
            and packed.attention_mask is None
            and not capturing()
            and 0 not in packed.lengths
            and not any(has_hooks(module) for module in self.modules())
        )
