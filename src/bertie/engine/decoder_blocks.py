"""The blocks of a decoder: tokens attend to the cached tokens before them, and to an encoder's output."""

from dataclasses import dataclass
from typing import NamedTuple

from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.attention import Starts, attend, causal
from bertie.engine.blocks import Block
from bertie.engine.key_values import Growth, KeyValues
from bertie.engine.linear import Linear
from bertie.engine.normalization import Norm
from bertie.engine.weights import Weights
from bertie.kernels.gemm import RESIDUAL


class CrossKeyValues(NamedTuple):
    """Keys and values of sources in one layer, ``[T, H, K]`` each, projected once for all steps."""

    keys: Array
    values: Array


@dataclass(frozen=True, eq=False)
class CrossAttention:
    """Attention to a source: ``key_values`` computes the keys and values of its states, concatenated."""

    query: Linear
    key_values: Linear
    output: Linear
    norm: Norm
    heads: tuple[int, int]

    @classmethod
    def of(cls, weights: Weights, config: BertConfig, index: int) -> "CrossAttention":
        place = f"bert.encoder.layer.{index}.crossattention"
        return cls(
            weights.linear(f"{place}.self.query"),
            weights.linear(f"{place}.self.key", f"{place}.self.value"),
            weights.linear(f"{place}.output.dense"),
            weights.norm(f"{place}.output.LayerNorm", config.layer_norm_eps),
            (config.num_attention_heads, config.hidden_size // config.num_attention_heads),
        )

    def read(self, states: Array, threads: int) -> CrossKeyValues:
        """Return the keys and values of an encoder's states ``[T, D]``."""
        both = self.key_values(states, threads=threads).reshape(-1, 2, *self.heads)
        return CrossKeyValues(both[:, 0], both[:, 1])

    def __call__(self, x: Array, source: CrossKeyValues, starts_q: Starts, starts_k: Starts, threads: int) -> Array:
        """Return the sub-layer's output for hidden states ``[T, D]``, which attend to their sources."""
        queries = self.query(x, threads=threads).reshape(-1, *self.heads)
        context = attend(queries, *source, starts_q, starts_k, threads).reshape(len(x), -1)
        return self.norm(self.output(context, RESIDUAL, x, threads=threads), threads)


@dataclass(frozen=True, eq=False)
class DecoderBlock:
    """A block with attention to the text so far and, if it has cross-attention, to a source."""

    block: Block
    cross: CrossAttention | None
    index: int

    @classmethod
    def of(cls, weights: Weights, config: BertConfig, index: int) -> "DecoderBlock":
        cross = CrossAttention.of(weights, config, index) if config.add_cross_attention else None
        return cls(Block.of(weights, config, index), cross, index)

    def attend_past(self, x: Array, past: KeyValues, growth: Growth, threads: int, several: bool) -> Array:
        """Return the self-attention sub-layer's output for new tokens ``[T, D]``, which are added to ``past``.

        ``several``: whether a text has more than one new token, so that keys after each must be masked.
        """
        block = self.block
        parts = block.qkv(x, threads=threads).reshape(-1, 3, *block.heads)
        keys, values = past.append(self.index, parts[:, 1], parts[:, 2], growth)
        bias = causal if several else None
        context = attend(parts[:, 0], keys, values, growth.starts_q, growth.starts_k, threads, bias)
        return block.attended(context, x, threads)
