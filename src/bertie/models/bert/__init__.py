"""BertModel: the bare encoder (or decoder), without a task."""

import importlib
from typing import Any, ClassVar

from torch import Tensor

import bertie
from bertie.attention.cache import Cache, EncoderDecoderCache
from bertie.config import BertConfig
from bertie.errors import InputError, InputTypeError
from bertie.layers.embeddings import BertEmbeddings
from bertie.layers.encoder import BertEncoder
from bertie.layers.linear import has_hooks
from bertie.layers.pooler import BertPooler
from bertie.models.entrance import enter_encoder
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from bertie.packing import Packed


class BertModel(BertPreTrainedModel):
    """BERT (arXiv 1810.04805): hidden states of every token and a pooled vector of every text.

    With ``config.is_decoder`` each token sees only what stands before it; with ``config.add_cross_attention`` it also
    looks at ``encoder_hidden_states``.
    """

    _keys_to_ignore_on_load: ClassVar[list[str]] = []

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | Packed | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Run the encoder.

        Args:
            input_ids: ``[B, S]`` integers, or a ``Packed`` (then nothing may stand beside it that it already knows).
            attention_mask: ``[B, S]`` of 0 and 1 (with a cache: over its tokens too), or ``[B, S, S]`` and
                ``[B, 1 or H, S, S]``, bool or floats to add to the scores.
            token_type_ids, position_ids: ``[B, S]`` integers.
            inputs_embeds: ``[B, S, D]``, instead of ``input_ids``.
            encoder_hidden_states: ``[B, S_encoder, D]``, for cross-attention, with its mask ``[B, S_encoder]``.
            past_key_values: a cache of what was read before; the same object comes back, extended.
            use_cache: whether a decoder returns its cache; None takes ``config.use_cache``.
            output_attentions, output_hidden_states, return_dict: None takes the config's.

        Returns:
            ``BaseModelOutputWithPoolingAndCrossAttentions``, or a tuple of its members.

        Raises:
            InputError, InputTypeError: naming the argument that is wrong.
        """
        cache = self._cache(past_key_values, use_cache, encoder_hidden_states is not None)
        past_length = self.past_length(cache)
        packed = self.enter(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, past_length)
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        hidden_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        encoded = self.encoder(
            self.embeddings(packed),
            packed,
            self._encoder_states(encoder_hidden_states, encoder_attention_mask, packed),
            cache,
            attentions,
            hidden_states,
        )
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=encoded.last_hidden_state,
            pooler_output=None if self.pooler is None else self.pooler(encoded.last_hidden_state, packed),
            hidden_states=encoded.hidden_states,
            past_key_values=cache if self._returns_cache(use_cache) else None,
            attentions=encoded.attentions,
            cross_attentions=encoded.cross_attentions,
        )
        return self.leave(output, input_ids, packed, return_dict)

    def pooled(
        self, packed: Packed, output_attentions: bool | None = None, output_hidden_states: bool | None = None
    ) -> Any:
        """Return what calling the model returns, for heads that read ``pooler_output`` and no ``last_hidden_state``.

        The last block is then computed for each text's first token alone, unless something else of it is asked for.
        """
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        hidden_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if attentions or hidden_states or self.pooler is None or not self._can_skip(packed):
            return self(packed, output_attentions=attentions, output_hidden_states=hidden_states, return_dict=True)
        first = self.encoder.first_tokens(self.embeddings(packed), packed)
        return BaseModelOutputWithPoolingAndCrossAttentions(pooler_output=self.pooler(first, packed.firsts()))

    def first_tokens(self, packed: Packed) -> Tensor:
        """Return the last hidden state of each text's first token, ``[B, D]``, computing the others only so far."""
        if not self._can_skip(packed):
            return packed.first(self(packed, return_dict=True).last_hidden_state)
        packed = self.enter(packed)
        return self.encoder.first_tokens(self.embeddings(packed), packed)

    def _can_skip(self, packed: Packed) -> bool:
        return not has_hooks(self) and self.encoder.can_skip(packed)

    def past_length(self, cache: Any) -> int:
        """Return how many tokens ``cache`` holds (None: no cache), after checking that it can be read and extended.

        Raises:
            InputError, InputTypeError: if it is no cache, or blocks run twice, which would extend it twice.
        """
        if cache is None:
            return 0
        if not hasattr(cache, "get_seq_length"):
            raise InputTypeError(f"past_key_values must be a bertie.Cache or one like it, not {type(cache).__name__}.")
        if self.training and self.is_gradient_checkpointing:
            raise InputError(
                "past_key_values cannot be used in training under activation checkpointing; leave one out."
            )
        length: int = cache.get_seq_length()
        return length

    def _returns_cache(self, use_cache: bool | None) -> bool:
        wanted = self.config.use_cache if use_cache is None else use_cache
        return self.config.is_decoder and wanted and not (self.training and self.is_gradient_checkpointing)

    def _cache(self, given: Any, use_cache: bool | None, cross_attention: bool) -> Any:
        """Return the cache to read and extend: the caller's, a new one if one is wanted, or None."""
        if given is not None or not self._returns_cache(use_cache):
            return given
        return EncoderDecoderCache() if cross_attention or self.config.is_encoder_decoder else Cache()

    def _encoder_states(self, states: Tensor | Packed | None, mask: Tensor | None, packed: Packed) -> Packed | None:
        encoder = enter_encoder(self.config, states, mask) if self.config.is_decoder else None
        if encoder is not None and encoder.shape[0] != packed.shape[0]:
            raise InputError(
                f"encoder_hidden_states holds {encoder.shape[0]} texts, but the batch has {packed.shape[0]}."
            )
        return encoder


def __getattr__(name: str) -> Any:
    # transformers' package of this name has all of BERT's classes; here they import this one, so they come when asked
    if name.startswith("Bert"):
        for module in (bertie, importlib.import_module("bertie.models.bert.modeling_bert")):
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
