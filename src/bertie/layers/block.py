"""One transformer block: attention, in some decoders cross-attention, and feed-forward, each with its residual."""

from typing import Any

from torch import Tensor, nn

from bertie.capture import has_hooks, is_intercepted
from bertie.config import BertConfig
from bertie.errors import InputError
from bertie.layers.activations import activation, is_erf_gelu
from bertie.layers.attention import BertAttention, Residual
from bertie.layers.fused import can_fuse, dense_gelu
from bertie.layers.linear import Linear
from bertie.packing import Packed


class BertIntermediate(nn.Module):
    """``activation(dense(x))``: ``[..., D]`` to ``[..., F]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = activation(config.hidden_act)

    def forward(self, hidden_states: Tensor) -> Tensor:
        if is_erf_gelu(self.intermediate_act_fn) and can_fuse(hidden_states, self.dense):
            return dense_gelu(hidden_states, self.dense)
        return self.intermediate_act_fn(self.dense(hidden_states))


class BertOutput(Residual):
    """The output projection of the feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, config.intermediate_size)


class BertLayer(nn.Module):
    """``[B, S, D]`` to ``[B, S, D]``, or ``[T, D]`` to ``[T, D]`` if a `Packed` is passed as the mask."""

    crossattention: BertAttention

    def __init__(self, config: BertConfig, layer_idx: int | None = None) -> None:
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.seq_len_dim = 1
        self.is_decoder = config.is_decoder
        self.add_cross_attention = config.add_cross_attention
        self.attention = BertAttention(config, config.is_decoder, layer_idx)
        if config.add_cross_attention:
            self.crossattention = BertAttention(config, False, layer_idx, is_cross_attention=True)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | Packed | None = None,
        encoder_hidden_states: Tensor | Packed | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **others: Any,
    ) -> Tensor:
        """Return the next hidden states.

        Args:
            attention_mask: ``[B, 1 or H, 1 or S, S_keys]``, bool (True: attend) or floats added to the scores.
            encoder_hidden_states: ``[B, S_encoder, D]``, for a decoder's cross-attention.
            encoder_attention_mask: the mask of ``encoder_hidden_states``.
            past_key_values: a cache to read and extend.
            others: passed to the attention, such as ``output_attentions``.

        Raises:
            InputError: encoder states are given, but the config has no ``add_cross_attention``.
        """
        attended, _ = self.attention(hidden_states, attention_mask, past_key_values=past_key_values, **others)
        if self.is_decoder and encoder_hidden_states is not None:
            if not hasattr(self, "crossattention"):
                raise InputError("encoder_hidden_states need a model made with config.add_cross_attention=True.")
            attended, _ = self.crossattention(
                attended,
                attention_mask if isinstance(attention_mask, Packed) else None,
                encoder_hidden_states,
                encoder_attention_mask,
                past_key_values=past_key_values,
                **others,
            )
        return self.feed_forward_chunk(attended)

    def feed_forward_chunk(self, attention_output: Tensor) -> Tensor:
        """Return the feed-forward sub-layer's output for each token."""
        return self.output(self.intermediate(attention_output), attention_output)

    def first_tokens(self, hidden_states: Tensor, packed: Packed) -> Tensor:
        """Return the output of ``forward`` for each text's first token alone, ``[B, D]``.

        The other tokens serve only as keys and values.
        """
        attention: Any = self.attention
        first = packed.first(hidden_states)
        attended = attention.output(attention.self.first_tokens(first, hidden_states, packed), first)
        return self.feed_forward_chunk(attended)

    def can_skip(self, packed: Packed) -> bool:
        """Whether `first_tokens` is equivalent to ``forward``: no mask of its own, no decoder, no hooks."""
        own: Any = self.attention.self
        return (
            not own.is_causal
            and own.distances is None
            and own.backend is None
            and packed.attention_mask is None
            and not is_intercepted()
            and 0 not in packed.lengths
            and not any(has_hooks(module) for module in self.modules())
        )
