"""The attention sub-layers of a block: projections around ``attend``, with residual and normalization after.

Each part takes the reference's arguments. Hidden states are packed, ``[T, D]``, if a `Packed` is passed as the mask,
else a rectangle ``[B, S, D]``.
"""

from typing import Any

import torch
from torch import Tensor, nn

from bertie.attention import attend
from bertie.attention.cache import Cache, CacheLike, extend
from bertie.attention.cache_layer import CachedKeys
from bertie.attention.dense import PositionBuckets, RelativePositions, attend_rectangles
from bertie.attention.request import ScoreBias
from bertie.capture import is_tracing
from bertie.config import BertConfig
from bertie.dropout import Dropout
from bertie.errors import InputError, InputTypeError, nearest
from bertie.layers.fused import can_fuse, dense_residual_norm, project
from bertie.layers.linear import Linear
from bertie.layers.rectangle import Collected, Unpadded
from bertie.packing import Packed

# Arguments that callers pass to every part, but which attention does not use.
_UNUSED_ARGUMENTS = frozenset({"position_ids", "use_cache", "output_hidden_states", "return_dict", "cache_position"})


class _Attention(nn.Module):
    """The parts shared by self- and cross-attention: three projections, split into heads."""

    def __init__(self, config: BertConfig, is_causal: bool = False, layer_idx: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.scaling = self.attention_head_size**-0.5
        self.query = Linear(config.hidden_size, self.all_head_size)
        self.key = Linear(config.hidden_size, self.all_head_size)
        self.value = Linear(config.hidden_size, self.all_head_size)
        self.dropout = Dropout(config.attention_probs_dropout_prob)
        self.is_causal = is_causal
        self.layer_idx: Any = layer_idx

    def heads(self, projected: Tensor) -> Tensor:
        """``[..., D]`` to ``[..., H, K]``."""
        return projected.view(*projected.shape[:-1], self.num_attention_heads, self.attention_head_size)

    def rows(self, projected: Tensor) -> Tensor:
        """``[B, S, D]`` to ``[B, H, S, K]``."""
        return self.heads(projected).transpose(1, 2)

    def returns_weights(self, output_attentions: bool | None, collected: Collected | None) -> bool:
        """Whether this part returns the weights of a rectangle: if requested, and always with eager attention."""
        return bool(output_attentions) or self.backend == "dense" or _collects_weights(collected)

    @property
    def backend(self) -> str | None:
        """The name of the backend to use; None leaves the choice to `attend`."""
        return "dense" if self.config._attn_implementation == "eager" else None

    @property
    def dropout_p(self) -> float:
        return self.dropout.p if self.training else 0.0


class BertSelfAttention(_Attention):
    """Every token attends to its whole text or, in a decoder, to itself and the tokens before it."""

    def __init__(self, config: BertConfig, is_causal: bool = False, layer_idx: int | None = None) -> None:
        super().__init__(config, is_causal, layer_idx)
        self.is_decoder = config.is_decoder
        self.distances: RelativePositions | PositionBuckets | None = None
        if config.position_embedding_type != "absolute":
            self.distances = RelativePositions(config.position_embedding_type, config.max_position_embeddings)
            self.distance_embedding = nn.Embedding(2 * config.max_position_embeddings - 1, self.attention_head_size)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | Packed | None = None,
        past_key_values: Any = None,
        encoder_hidden_states: None = None,  # noqa: ARG002  callers pass the same to both kinds of attention
        output_attentions: bool | None = None,
        collected: Collected | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context, in the layout of ``hidden_states``, and the weights ``[B, H, S, S_keys]`` or None."""
        if others:
            _check_others(others)
        cache = getattr(past_key_values, "self_attention_cache", past_key_values)
        bias = self._score_bias()
        if not isinstance(attention_mask, Packed):
            q, k, v = map(self.rows, self.project(hidden_states))
            if cache is not None:
                k, v = extend(cache, k, v, self.layer_idx, has_padding=attention_mask is not None)
            context, weights = attend_rectangles(
                q,
                k,
                v,
                self._causal_mask(q, k) if attention_mask is None else attention_mask,
                dropout_p=self.dropout_p,
                score_bias=bias,
                weights=self.returns_weights(output_attentions, collected),
                real=None if collected is None else collected.real,
            )
            return context.flatten(2), weights
        packed = attention_mask
        q, k, v = map(self.heads, self.project(hidden_states))
        keys: Packed | CachedKeys = packed
        if cache is not None:
            k, v, keys = self._append_to_cache(cache, k, v, packed)
        # a single new token attends to everything in the cache
        is_causal = self.is_causal and not (isinstance(keys, CachedKeys) and max(packed.lengths, default=0) <= 1)
        context, weights = attend(
            q,
            k,
            v,
            packed,
            keys=keys,
            causal=is_causal,
            dropout_p=self.dropout_p,
            score_bias=bias,
            weights=_collects_weights(collected),
            backend=self.backend,
        )
        return context.flatten(1), weights

    def _score_bias(self) -> ScoreBias | None:
        if isinstance(self.distances, RelativePositions):
            return self.distances.score_bias(self.distance_embedding.weight)
        return None if self.distances is None else self.distances.score_bias()

    def _append_to_cache(
        self, cache: CacheLike, k: Tensor, v: Tensor, packed: Packed
    ) -> tuple[Tensor, Tensor, Packed | CachedKeys]:
        """Append keys and values ``[T, H, K]`` to a cache; return those to attend to, the new alone if it was empty."""
        was_empty = not is_tracing() and cache.get_seq_length(self.layer_idx) == 0
        if isinstance(cache, Cache) and _is_plain(packed):
            everything: tuple[Tensor, Tensor, Packed | CachedKeys] = cache.append(k, v, self.layer_idx, packed)
            self._refuse_unequal_distances(everything[2])
        elif not isinstance(packed, Unpadded) and packed.flat_index is not None and not is_tracing():
            raise InputError(
                f"{type(cache).__name__} holds rows of equal length; texts of unequal lengths in a Packed need a "
                "bertie.Cache."
            )
        else:
            key_rows, value_rows = (packed.pad(part).transpose(1, 2) for part in (k, v))
            has_padding = packed.flat_index is not None or packed.attention_mask is not None
            everything = *extend(cache, key_rows, value_rows, self.layer_idx, has_padding), packed
        return (k, v, packed) if was_empty else everything

    def _refuse_unequal_distances(self, keys: Packed | CachedKeys) -> None:
        if self.distances is not None and isinstance(keys, CachedKeys) and len(set(keys.lengths)) > 1:
            raise InputError(
                "Relative positions are counted in columns; texts of unequal lengths in a cache need absolute ones, "
                "or rows with an attention_mask."
            )

    def project(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = self.query, self.key, self.value
        if can_fuse(hidden_states, *layers):
            q, k, v = project(hidden_states, *layers)
            return q, k, v
        return self.query(hidden_states), self.key(hidden_states), self.value(hidden_states)

    def _causal_mask(self, query: Tensor, key: Tensor) -> Tensor | None:
        """Return the default mask: causal in a decoder, but none with eager attention, as in the reference."""
        if not self.is_causal or self.backend == "dense" or query.shape[2] == 1:
            return None
        width, keys = query.shape[2], key.shape[2]
        return torch.ones(width, keys, dtype=torch.bool, device=query.device).tril(keys - width)

    def first_tokens(self, first: Tensor, hidden_states: Tensor, packed: Packed) -> Tensor:
        """Return the context ``[B, D]`` of each text's ``first`` token ``[B, D]``, over its whole text."""
        q, k, v = map(self.heads, (self.query(first), self.key(hidden_states), self.value(hidden_states)))
        context, _ = attend(q, k, v, packed.cls_tokens(), keys=packed, dropout_p=self.dropout_p)
        return context.flatten(1)


class BertCrossAttention(_Attention):
    """Every token of a decoder's text attends to the encoder's hidden states of the same text."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | Packed | None = None,
        attention_mask: Tensor | Packed | None = None,
        past_key_values: Any = None,
        output_attentions: bool | None = None,
        collected: Collected | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the context, in the layout of ``hidden_states``, and the weights ``[B, H, S, S_encoder]`` or None.

        If packed, ``attention_mask`` is the batch of the queries and ``encoder_hidden_states`` that of the keys.
        """
        if others:
            _check_others(others)
        query = self.query(hidden_states)
        if not isinstance(attention_mask, Packed):
            context, weights = attend_rectangles(
                self.rows(query),
                *self.keys_and_values(encoder_hidden_states, past_key_values),
                attention_mask,
                dropout_p=self.dropout_p,
                weights=self.returns_weights(output_attentions, collected),
                real=None if collected is None else collected.real,
            )
            return context.flatten(2), weights
        assert isinstance(encoder_hidden_states, Packed)
        k, v, keys = self._packed_keys(encoder_hidden_states, past_key_values, collected)
        context, weights = attend(
            self.heads(query),
            k,
            v,
            attention_mask,
            keys=keys,
            dropout_p=self.dropout_p,
            weights=_collects_weights(collected),
        )
        return context.flatten(1), weights

    def _packed_keys(
        self, encoder: Packed, cache: Any, collected: Collected | None
    ) -> tuple[Tensor, Tensor, Packed | CachedKeys]:
        """Return the keys and values for packed queries; bertie's cache keeps those of a `Packed` without padding."""
        half = getattr(cache, "cross_attention_cache", None)
        if not isinstance(half, Cache) or not _is_plain(encoder) or half.layer(self.layer_idx).lengths is None:
            return *self.keys_and_values(encoder, cache), encoder
        if _collects_weights(collected):  # weights have the columns of the encoder's rectangle
            return *self.keys_and_values(encoder, None), encoder
        if not cache.is_updated.get(self.layer_idx):
            cache.is_updated[self.layer_idx] = True
            return half.append(*self.keys_and_values(encoder, None), self.layer_idx, encoder)
        return half.layers[self.layer_idx].packed()

    def keys_and_values(self, encoder: Tensor | Packed | None, cache: Any) -> tuple[Tensor, Tensor]:
        """Project the encoder's hidden states, or return what an encoder-decoder cache holds of them in rows."""
        updated = getattr(cache, "is_updated", None)
        assert encoder is not None
        if updated is not None and updated.get(self.layer_idx):
            half = cache.cross_attention_cache
            if isinstance(half, Cache) and half.layer(self.layer_idx).lengths is not None:
                raise InputError("past_key_values holds the keys of an encoder's Packed; pass that Packed again.")
            # Any cache can be read through ``update`` alone, by appending nothing.
            nothing = torch.empty(encoder.shape[0], self.num_attention_heads, 0, self.attention_head_size)
            nothing = nothing.to(self.key.weight.device, self.key.weight.dtype)
            return extend(half, nothing, nothing, self.layer_idx, has_padding=True)
        if isinstance(encoder, Packed):
            assert encoder.inputs_embeds is not None
            k, v = (self.heads(part(encoder.inputs_embeds)) for part in (self.key, self.value))
            if updated is not None:
                k, v = (encoder.pad(part).transpose(1, 2) for part in (k, v))
        else:
            k, v = (self.rows(part(encoder)) for part in (self.key, self.value))
        if updated is not None:
            k, v = extend(cache.cross_attention_cache, k, v, self.layer_idx, has_padding=True)
            updated[self.layer_idx] = True
        return k, v


class Residual(nn.Module):
    """``LayerNorm(residual + dropout(dense(x)))``: ``[..., width]`` and the residual ``[..., D]`` to ``[..., D]``."""

    def __init__(self, config: BertConfig, width: int) -> None:
        super().__init__()
        self.dense = Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        p = self.dropout.p if self.dropout.training else 0.0
        is_float = type(input_tensor) is Tensor and input_tensor.dtype == torch.float32
        if is_float and p < 1 and can_fuse(hidden_states, self.dense, self.dropout, self.LayerNorm):
            return dense_residual_norm(hidden_states, input_tensor, self.dense, p, self.LayerNorm)
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + input_tensor)


class BertSelfOutput(Residual):
    """The output projection of attention."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config, config.hidden_size)


class BertAttention(nn.Module):
    """Either kind of attention with its output: ``attention`` and ``crossattention`` in checkpoints."""

    def __init__(
        self,
        config: BertConfig,
        is_causal: bool = False,
        layer_idx: int | None = None,
        is_cross_attention: bool = False,
    ) -> None:
        super().__init__()
        self.is_cross_attention = is_cross_attention
        attention = BertCrossAttention if is_cross_attention else BertSelfAttention
        self.self = attention(config, is_causal, layer_idx)
        self.output = BertSelfOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | Packed | None = None,
        encoder_hidden_states: Tensor | Packed | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Return hidden states in the layout of those given, and the attention weights or None."""
        if self.is_cross_attention and not isinstance(attention_mask, Packed):
            attention_mask = encoder_attention_mask
        context, weights = self.self(
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            **others,
        )
        if weights is not None and (collected := others.get("collected")) is not None:
            collected.add_weights(weights, self.is_cross_attention)
        return self.output(context, hidden_states), weights


def _is_plain(packed: Packed) -> bool:
    """Whether a batch was given without padding, so that each text may grow by its own tokens."""
    return not isinstance(packed, Unpadded) and packed.attention_mask is None and not is_tracing()


def _collects_weights(collected: Collected | None) -> bool:
    return collected is not None and collected.attentions is not None


def _check_others(others: dict[str, Any]) -> None:
    """Refuse arguments that no part of a block takes, unless they are None (programs pass ``head_mask=None``)."""
    for name, value in others.items():
        if value is not None and name not in _UNUSED_ARGUMENTS:
            hint = nearest(name, ["attention_mask", "past_key_values", "output_attentions", "encoder_hidden_states"])
            raise InputTypeError(f"The blocks take no argument {name!r}.{hint}")
