"""One transformer block: attention, in a decoder cross-attention, and feed-forward, each with its residual."""

from typing import Any

from torch import Tensor, nn

from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.layers.attention import BertAttention, BertCrossAttention, BertSelfAttention
from bertie.layers.feed_forward import BertIntermediate
from bertie.layers.residual import BertResidual
from bertie.packing import Packed


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
