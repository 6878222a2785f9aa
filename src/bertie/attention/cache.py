"""Keys and values of tokens that a decoder has already read, kept between its steps."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from bertie.errors import InputError


class CacheLayer:
    """The keys and values ``[B, H, S, K]`` of one layer; None before the first update."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None


class Cache:
    """Grows by what each step adds. bertie calls ``update`` and ``get_seq_length`` only (decision 18)."""

    def __init__(self) -> None:
        self.layers: list[CacheLayer] = []

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Append ``[B, H, S_new, K]`` keys and values to a layer and return all it holds, ``[B, H, S, K]``.

        Raises:
            InputError: if the batch size differs from the one the cache was filled with.
        """
        while len(self.layers) <= layer_idx:
            self.layers.append(CacheLayer())
        layer = self.layers[layer_idx]
        if layer.keys is None or layer.values is None:
            layer.keys, layer.values = key_states, value_states
        else:
            if layer.keys.shape[0] != key_states.shape[0]:
                raise InputError(
                    f"past_key_values holds a batch of {layer.keys.shape[0]} texts, but this call brings "
                    f"{key_states.shape[0]}; reorder the cache or start with a new one."
                )
            layer.keys = torch.cat([layer.keys, key_states], dim=2)
            layer.values = torch.cat([layer.values, value_states], dim=2)
        return layer.keys, layer.values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many tokens a text of the cache holds (its padding included)."""
        if layer_idx >= len(self.layers) or (keys := self.layers[layer_idx].keys) is None:
            return 0
        return keys.shape[2]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Make text ``i`` of the cache what text ``beam_idx[i]`` was (beam search).

        Raises:
            InputError: if an index lies outside the batch.
        """
        for layer in self.layers:
            if layer.keys is None or layer.values is None:
                continue
            texts = layer.keys.shape[0]
            if beam_idx.numel() and not (int(beam_idx.min()) >= 0 and int(beam_idx.max()) < texts):
                raise InputError(f"beam_idx {beam_idx.tolist()} names texts outside the cache's batch of {texts}.")
            layer.keys = layer.keys.index_select(0, beam_idx.to(layer.keys.device))
            layer.values = layer.values.index_select(0, beam_idx.to(layer.values.device))

    def __len__(self) -> int:
        return len(self.layers)


def extend(cache: Any, keys: Tensor, values: Tensor, layer_idx: int | None) -> tuple[Tensor, Tensor]:
    """Append to a layer of a cache of any make and return all it holds; of a cache with spare room, the filled part."""
    keys, values = cache.update(keys, values, layer_idx)
    filled = cache.get_seq_length()
    return keys[:, :, :filled], values[:, :, :filled]


class EncoderDecoderCache:
    """Both halves of a decoder with cross-attention; ``is_updated[layer]`` says that the encoder's half is filled."""

    def __init__(self, self_attention_cache: Any = None, cross_attention_cache: Any = None) -> None:
        self.self_attention_cache = Cache() if self_attention_cache is None else self_attention_cache
        self.cross_attention_cache = Cache() if cross_attention_cache is None else cross_attention_cache
        self.is_updated: dict[int, bool] = {}

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return how many tokens a text of the decoder's half holds."""
        return int(self.self_attention_cache.get_seq_length(layer_idx))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Reorder both halves (see ``Cache.reorder_cache``)."""
        self.self_attention_cache.reorder_cache(beam_idx)
        self.cross_attention_cache.reorder_cache(beam_idx)

    def __len__(self) -> int:
        return len(self.self_attention_cache)


def _unflatten(layers: Any, _context: Any) -> Cache:
    cache = Cache()
    for keys, values in layers:
        layer = CacheLayer()
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def _unflatten_both(halves: Any, updated: Any) -> EncoderDecoderCache:
    cache = EncoderDecoderCache(*halves)
    cache.is_updated = dict(updated)
    return cache


# So that a decoder can be exported together with the cache it answers with.
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
