"""The blocks of an encoder: all in one call of bertie's kernels, or one after the other where these lack something."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.attention import attend, relative_bias
from bertie.engine.batch import Batch
from bertie.engine.linear import Linear
from bertie.engine.normalization import layer_norm
from bertie.engine.weights import Norm, Weights
from bertie.kernels import encoder
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.kernels.gemm import RESIDUAL, PackedLinear


@dataclass(frozen=True, eq=False)
class Block:
    """A block's weights; ``projections`` gives queries, keys and values side by side."""

    projections: Linear
    output: Linear
    intermediate: Linear
    last: Linear
    after_attention: Norm
    after_feed_forward: Norm
    heads: tuple[int, int]  # how many, and how wide
    activation: int  # its code
    distances: Array | None
    by_key_too: bool

    @classmethod
    def of(cls, weights: Weights, config: BertConfig, index: int) -> "Block":
        """Return the block of this number."""
        place, eps = f"bert.encoder.layer.{index}", config.layer_norm_eps
        own, is_relative = f"{place}.attention.self", config.position_embedding_type != "absolute"
        return cls(
            weights.linear(f"{own}.query", f"{own}.key", f"{own}.value"),
            weights.linear(f"{place}.attention.output.dense"),
            weights.linear(f"{place}.intermediate.dense"),
            weights.linear(f"{place}.output.dense"),
            weights.norm(f"{place}.attention.output.LayerNorm", eps),
            weights.norm(f"{place}.output.LayerNorm", eps),
            (config.num_attention_heads, config.hidden_size // config.num_attention_heads),
            ACTIVATION_CODES[str(config.hidden_act)],
            weights.array(f"{own}.distance_embedding.weight") if is_relative else None,
            config.position_embedding_type == "relative_key_query",
        )

    def __call__(self, x: Array, batch: Batch, threads: int, *, only_first: bool = False) -> Array:
        """Return what the block makes of hidden states ``[T, D]``.

        ``only_first`` computes each row's first token alone, ``[R, D]``; of the others, keys and values.
        """
        parts = self.projections(x, threads=threads).reshape(-1, 3, *self.heads)
        queries, starts = parts[:, 0], batch.cu_seqlens
        if only_first:
            queries, x, starts = queries[batch.firsts], x[batch.firsts], np.arange(len(starts), dtype=np.int32)
        bias = None if self.distances is None else relative_bias(self.distances, self.by_key_too)
        context = attend(queries, parts[:, 1], parts[:, 2], starts, batch.cu_seqlens, threads, bias)
        return self.feed_forward(self.attended(context, x, threads), threads)

    def attended(self, context: Array, x: Array, threads: int) -> Array:
        """Return hidden states ``x [T, D]`` with the context ``[T, H, K]`` that their queries found."""
        context = context.reshape(len(context), -1)
        return layer_norm(self.output(context, RESIDUAL, x, threads=threads), self.after_attention, threads)

    def feed_forward(self, x: Array, threads: int) -> Array:
        """Return what the block's second half makes of ``[T, D]``."""
        wide = self.intermediate(x, self.activation, threads=threads)
        return layer_norm(self.last(wide, RESIDUAL, x, threads=threads), self.after_feed_forward, threads)

    @cached_property
    def packed(self) -> encoder.Block | None:
        """The block as one call of all blocks computes it; None where that lacks something of it."""
        products = [self.projections, self.output, self.intermediate, self.last]
        packed = tuple(each for each in products if isinstance(each, PackedLinear))
        if packed != tuple(products) or self.distances is not None:
            return None
        return encoder.Block(packed, (self.after_attention, self.after_feed_forward), self.heads, self.activation)


class Blocks:
    """``L`` blocks, one after the other."""

    def __init__(self, weights: Weights, config: BertConfig) -> None:
        self.blocks = [Block.of(weights, config, index) for index in range(config.num_hidden_layers)]
        packed = [block.packed for block in self.blocks]
        together = [block for block in packed if block is not None]
        self.packed = encoder.PackedEncoder(together) if together and len(together) == len(packed) else None

    def __call__(self, x: Array, batch: Batch, threads: int, count: int | None = None) -> Array:
        """Return what the first ``count`` blocks, or all, make of hidden states ``[T, D]``."""
        if self.packed is not None:
            return self.packed(x, batch.cu_seqlens, count, threads=threads)
        for block in self.blocks[:count]:
            x = block(x, batch, threads)
        return x

    def first_tokens(self, x: Array, batch: Batch, threads: int) -> Array:
        """Return the last hidden state of each row's first token ``[R, D]``: the last block computes nothing else."""
        if not self.blocks:
            return x[batch.firsts]
        x = self(x, batch, threads, len(self.blocks) - 1)
        return self.blocks[-1](x, batch, threads, only_first=True)

    def each(self, x: Array, batch: Batch, threads: int) -> Iterator[Array]:
        """Yield ``x``, and what each block makes of it."""
        yield x
        for block in self.blocks:
            x = block(x, batch, threads)
            yield x
