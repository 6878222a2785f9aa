"""The blocks of an encoder: all in one kernel call, or one after the other if the kernels cannot compute them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.config import BertConfig
from bertie.engine.activations import Array
from bertie.engine.attention import ScoreBias, attend, attention_weights, bucket_bias, relative_bias
from bertie.engine.batch import Batch
from bertie.engine.linear import ALL, Linear, rounds_bytes
from bertie.engine.normalization import Norm
from bertie.engine.weights import Weights
from bertie.kernels import encoder
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.kernels.gemm import RESIDUAL, PackedLinear

Places = NDArray[np.integer[Any]]
# If the last block could skip fewer tokens than this, calling its parts one by one would cost more than it saves.
FEWEST_SAVED = 16


@dataclass(frozen=True, eq=False)
class Block:
    """A block's weights; ``qkv`` computes queries, keys and values, concatenated, of the heads that were not pruned."""

    qkv: Linear
    attention_output: Linear
    intermediate: Linear
    output: Linear
    attention_norm: Norm
    output_norm: Norm
    kept_heads: NDArray[np.bool_]  # which of the model's heads were not pruned, [H]; the others' weights are 0
    heads: tuple[int, int]  # the number of kept heads, and their width
    activation: int  # its code
    bias: ScoreBias | None

    @classmethod
    def of(cls, weights: Weights, config: BertConfig, index: int) -> "Block":
        place, eps = f"bert.encoder.layer.{index}", config.layer_norm_eps
        own, positions, bias = f"{place}.attention.self", config.position_embedding_type, None
        if positions != "absolute":
            distances = weights.array(f"{own}.distance_embedding.weight")
            bias = relative_bias(distances, with_key_term=positions == "relative_key_query")
        elif config.family.position_buckets:
            bias = bucket_bias(weights.array("bert.encoder.relative_attention_bias.weight"))
        count, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
        kept_heads = np.ones(count, np.bool_)
        if bias is None and not config.is_decoder:  # a decoder's cache has the same number of heads in every layer
            kept_heads = weights.kept_heads(f"{place}.attention", count)
        kept = ALL if kept_heads.all() else kept_heads.repeat(width)
        return cls(
            weights.linear(f"{own}.query", f"{own}.key", f"{own}.value", outputs=kept),
            weights.linear(f"{place}.attention.output.dense", inputs=kept),
            weights.linear(f"{place}.intermediate.dense"),
            weights.linear(f"{place}.output.dense"),
            weights.norm(f"{place}.attention.output.LayerNorm", eps),
            weights.norm(f"{place}.output.LayerNorm", eps),
            kept_heads,
            (int(kept_heads.sum()), width),
            ACTIVATION_CODES[str(config.hidden_act)],
            bias,
        )

    def __call__(self, x: Array, batch: Batch, threads: int, places: Places | None = None) -> Array:
        """Return the block's output for hidden states ``[T, D]``.

        With ``places [M]``, ascending token indices, only these tokens are computed, ``[M, D]``; the others serve as
        keys and values.
        """
        parts = self.qkv(x, threads=threads).reshape(-1, 3, *self.heads)
        queries, starts = parts[:, 0], batch.cu_seqlens
        if places is not None:
            queries, x = queries[places], x[places]
            starts = np.searchsorted(places, starts).astype(np.int32)
        keys, values, approximate = parts[:, 1], parts[:, 2], rounds_bytes(self.qkv)
        context = attend(queries, keys, values, starts, batch.cu_seqlens, threads, self.bias, approximate)
        return self.feed_forward(self.attended(context, x, threads), threads)

    def attended(self, context: Array, x: Array, threads: int) -> Array:
        """Return the attention sub-layer's output from hidden states ``x [T, D]`` and their context ``[T, H, K]``."""
        context = context.reshape(len(context), -1)
        return self.attention_norm(self.attention_output(context, RESIDUAL, x, threads=threads), threads)

    def attention_weights(self, x: Array, batch: Batch, threads: int) -> Iterator[Array]:
        """Yield the attention weights ``[H, S, S]`` of each row's tokens."""
        parts = self.qkv(x, threads=threads).reshape(-1, 3, *self.heads)
        whole = np.zeros((len(x), 2, len(self.kept_heads), self.heads[1]), np.float32)
        whole[:, :, self.kept_heads] = parts[:, :2]
        for start, stop in pairwise(batch.cu_seqlens):
            queries, keys = whole[None, start:stop].transpose(2, 0, 3, 1, 4)
            yield attention_weights(queries, keys, self.bias)[0]

    def feed_forward(self, x: Array, threads: int) -> Array:
        """Return the feed-forward sub-layer's output for ``[T, D]``."""
        wide = self.intermediate(x, self.activation, threads=threads)
        return self.output_norm(self.output(wide, RESIDUAL, x, threads=threads), threads)

    @cached_property
    def packed(self) -> encoder.Block | None:
        """The block for `PackedEncoder`; None if that cannot compute it."""
        products = [self.qkv, self.attention_output, self.intermediate, self.output]
        packed = tuple(each for each in products if isinstance(each, PackedLinear))
        if packed != tuple(products) or self.bias is not None:
            return None
        return encoder.Block(packed, (self.attention_norm, self.output_norm), self.heads, self.activation)


class Blocks:
    """``L`` blocks, one after the other."""

    def __init__(self, weights: Weights, config: BertConfig) -> None:
        self.blocks = [Block.of(weights, config, index) for index in range(config.num_hidden_layers)]
        packed = [block.packed for block in self.blocks]
        together = [block for block in packed if block is not None]
        self.packed = encoder.PackedEncoder(together) if together and len(together) == len(packed) else None

    def __call__(self, x: Array, batch: Batch, threads: int, count: int | None = None) -> Array:
        """Return the output of the first ``count`` blocks, or of all, for hidden states ``[T, D]``."""
        if self.packed is not None:
            return self.packed(x, batch.cu_seqlens, count, threads=threads)
        for block in self.blocks[:count]:
            x = block(x, batch, threads)
        return x

    def at_places(self, x: Array, batch: Batch, threads: int, places: Places) -> Array:
        """Return the last hidden states ``[M, D]`` of the tokens ``places [M]`` (ascending indices) alone.

        With relative positions all are computed, since distances are counted from a row's first query.
        """
        if not self.blocks or self.blocks[-1].bias is not None or len(x) - len(places) < FEWEST_SAVED:
            return self(x, batch, threads)[places]
        x = self(x, batch, threads, len(self.blocks) - 1)
        return self.blocks[-1](x, batch, threads, places)

    def attention_weights(self, x: Array, batch: Batch, threads: int, layer: int) -> Iterator[Array]:
        """Yield the attention weights ``[H, S, S]`` of each row in one block."""
        return self.blocks[layer].attention_weights(self(x, batch, threads, layer), batch, threads)

    def each(self, x: Array, batch: Batch, threads: int) -> Iterator[Array]:
        """Yield ``x``, and the output of each block."""
        yield x
        for block in self.blocks:
            x = block(x, batch, threads)
            yield x
