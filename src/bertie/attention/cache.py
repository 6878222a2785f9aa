"""A decoder's key-value cache, with spare capacity between steps.

The rows of a rectangle grow together, padding included, as in the reference (``update``). The texts of a `Packed` grow
by their own tokens (``append``), so that prompts of unequal lengths continue without padding.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bertie.attention.cache_layer import CachedKeys, CacheLayer, Growth
from bertie.errors import InputError
from bertie.packing import Packed


class CacheLike(Protocol):
    """What a model needs of a cache, bertie's or the reference's (decision 18)."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]: ...

    def get_seq_length(self, layer_idx: int = 0) -> int: ...


class _DynamicCache:
    """What the reference's models query of a cache that grows and never drops tokens by itself."""

    is_compileable = False
    is_croppable = True

    def get_seq_length(self, layer_idx: int = 0) -> int:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def get_max_length(self, layer_idx: int | None = None) -> int:  # noqa: ARG002  the reference's signature
        return -1

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return self.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self.get_seq_length(layer_idx) + query_length, 0

    @property
    def is_sliding(self) -> list[bool]:
        return [False] * len(self)

    is_linear = is_dummy = is_sliding


class Cache(_DynamicCache):
    """The keys and values of all layers, with the methods that the reference's models and ``generate`` call.

    bertie calls ``update`` and ``get_seq_length`` of any cache (decision 18), and ``append`` only of this one.
    """

    def __init__(self) -> None:
        self.layers: list[CacheLayer] = []
        self._growth: Growth | None = None  # of the layer that grew last

    def layer(self, layer_idx: int) -> CacheLayer:
        """Return a layer, created if it is new."""
        while len(self.layers) <= layer_idx:
            self.layers.append(CacheLayer())
        return self.layers[layer_idx]

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        layer_idx: int,
        cache_kwargs: object = None,  # noqa: ARG002  the reference's signature
        *,
        has_padding: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Append ``[B, H, S_new, K]`` keys and values to a layer and return all that it holds, ``[B, H, S, K]``.

        Args:
            key_states, value_states: each row's new keys and values, padding included.
            layer_idx: the layer's index.
            cache_kwargs: ignored.
            has_padding: whether some of them are padding, which an ``attention_mask`` has to mask in every later step.

        Raises:
            InputError: if the batch size differs from the one the cache was filled with, or it holds packed texts of
                unequal lengths.
        """
        return self.layer(layer_idx).update(key_states, value_states, has_padding)

    def append(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, packed: Packed
    ) -> tuple[Tensor, Tensor, CachedKeys]:
        """Append a batch's packed keys and values ``[T, H, K]``, and return all, and where each text's are.

        Raises:
            InputError: if the batch size differs from the one the cache was filled with, or it holds padding.
        """
        layer = self.layer(layer_idx)
        self._growth = layer.append(key_states, value_states, tuple(packed.lengths), self._growth)
        return layer.packed()

    @property
    def lengths(self) -> tuple[int, ...] | None:
        """The number of tokens of each text, which is its next token's position; None for rows with padding."""
        return self.layers[0].lengths if self.layers else ()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of cached tokens of a text, padding included; of packed texts, that of the longest."""
        return self.layers[layer_idx].width if layer_idx < len(self.layers) else 0

    @property
    def is_initialized(self) -> bool:
        return bool(self.layers)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Replace text ``i`` of the cache by text ``beam_idx[i]`` (beam search).

        Raises:
            InputError: if an index is outside the batch.
        """
        for layer in self.layers:
            layer.select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only the texts with these indices (see ``reorder_cache``)."""
        self.reorder_cache(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each text ``repeats`` times, its copies next to each other."""
        for layer in self.layers:
            if layer.keys is not None:
                layer.select(torch.arange(layer.keys.shape[0]).repeat_interleave(repeats))

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last ``-tokens_to_remove`` tokens of each text.

        Raises:
            InputError: if ``tokens_to_remove`` is more than 0.
        """
        if tokens_to_remove > 0:
            raise InputError(f"tokens_to_remove is {tokens_to_remove}; it must be 0 or less: -2 removes two tokens.")
        for layer in self.layers:
            layer.crop(tokens_to_remove)

    def reset(self) -> None:
        """Forget all tokens."""
        self.layers.clear()

    def __iter__(self) -> Iterator[tuple[Tensor | None, Tensor | None, None]]:
        for layer in self.layers:
            yield layer.keys, layer.values, None

    def __len__(self) -> int:
        return len(self.layers)


def extend(
    cache: CacheLike, keys: Tensor, values: Tensor, layer_idx: int, has_padding: bool = False
) -> tuple[Tensor, Tensor]:
    """Append rows to a layer of any cache and return all that it holds, without spare capacity."""
    if isinstance(cache, Cache):
        return cache.update(keys, values, layer_idx, has_padding=has_padding)
    keys, values = cache.update(keys, values, layer_idx)
    filled = cache.get_seq_length()
    return keys[:, :, :filled], values[:, :, :filled]


class EncoderDecoderCache(_DynamicCache):
    """The caches of self- and cross-attention; ``is_updated[layer]`` says whether the latter is filled."""

    def __init__(
        self, self_attention_cache: CacheLike | None = None, cross_attention_cache: CacheLike | None = None
    ) -> None:
        self.self_attention_cache: Any = Cache() if self_attention_cache is None else self_attention_cache
        self.cross_attention_cache: Any = Cache() if cross_attention_cache is None else cross_attention_cache
        self.is_updated: dict[int, bool] = {}

    @property
    def lengths(self) -> tuple[int, ...] | None:
        """The number of tokens of each text in the self-attention cache (see ``Cache.lengths``)."""
        lengths: tuple[int, ...] | None = getattr(self.self_attention_cache, "lengths", None)
        return lengths

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of tokens of a text in the self-attention cache."""
        return int(self.self_attention_cache.get_seq_length(layer_idx))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Reorder both caches (see ``Cache.reorder_cache``)."""
        self._both("reorder_cache", beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only the texts with these indices, in both caches."""
        self._both("batch_select_indices", indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each text ``repeats`` times, in both caches."""
        self._both("batch_repeat_interleave", repeats)

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens of the self-attention cache (see ``Cache.crop``)."""
        self.self_attention_cache.crop(tokens_to_remove)

    def reset(self) -> None:
        """Forget all tokens of both caches."""
        self._both("reset")
        self.is_updated.clear()

    def _both(self, method: str, *arguments: object) -> None:
        for cache in (self.self_attention_cache, self.cross_attention_cache):
            getattr(cache, method)(*arguments)

    def __len__(self) -> int:
        return len(self.self_attention_cache)


def _unflatten(layers: Any, _context: Any) -> Cache:
    cache = Cache()
    for number, (keys, values) in enumerate(layers):
        if isinstance(keys, Tensor):
            cache.layer(number).set_rows(keys, values)
    return cache


def _unflatten_both(caches: Any, updated: Any) -> EncoderDecoderCache:
    cache = EncoderDecoderCache(*caches)
    cache.is_updated = dict(updated)
    return cache


# So that a decoder that returns a cache can be exported.
pytree.register_pytree_node(
    Cache,
    lambda cache: ([(layer.keys, layer.values) for layer in cache.layers], None),
    _unflatten,
    serialized_type_name="bertie.attention.cache.Cache",
)
pytree.register_pytree_node(
    EncoderDecoderCache,
    lambda cache: ([cache.self_attention_cache, cache.cross_attention_cache], tuple(cache.is_updated.items())),
    _unflatten_both,
    serialized_type_name="bertie.attention.cache.EncoderDecoderCache",
)
