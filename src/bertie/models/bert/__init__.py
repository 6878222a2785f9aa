"""BertModel: the bare encoder (or decoder), without a task."""

import importlib
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

import bertie
from bertie.attention.cache import Cache, CacheLike, EncoderDecoderCache
from bertie.capture import has_hooks
from bertie.config import BertConfig
from bertie.errors import InputError, InputTypeError, counted
from bertie.layers.embeddings import BertEmbeddings
from bertie.layers.encoder import BertEncoder
from bertie.layers.heads import BertPooler
from bertie.layers.rectangle import Batch, Collected, Rectangle, Unpadded, shown
from bertie.models.hooks import has_observers
from bertie.models.model_inputs import attention_mask_of, encoder_mask_of, pack_encoder_states
from bertie.models.pretrained import BertPreTrainedModel
from bertie.outputs import BaseModelOutputWithPoolingAndCrossAttentions
from bertie.packing import Packed


class BertModel(BertPreTrainedModel):
    """BERT (arXiv 1810.04805): hidden states of every token and a pooled vector of every text.

    With ``config.is_decoder`` attention is causal; with ``config.add_cross_attention`` tokens also attend to
    ``encoder_hidden_states``. The encoders of BERT's siblings (`bertie.families`) are BertModels, too.

    Args:
        config: the model's config.
        add_pooling_layer: whether it has a pooler; None: as the family's bare encoder does.
    """

    _keys_to_ignore_on_load: ClassVar[list[str]] = []

    def __init__(self, config: BertConfig, add_pooling_layer: bool | None = None) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        has_pooler = config.family.has_pooler if add_pooling_layer is None else add_pooling_layer
        self.pooler = BertPooler(config) if has_pooler else None
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
        past_key_values: CacheLike | EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        *,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndCrossAttentions | tuple[Any, ...]:
        """Run the encoder.

        Args:
            input_ids: ``[B, S]`` integers, or a ``Packed``, which excludes the next four arguments.
            attention_mask: ``[B, S]`` of 0 and 1 (with a cache: covering its tokens too), or ``[B, S, S]`` or
                ``[B, 1 or H, S, S]``, bool or floats to add to the scores.
            token_type_ids, position_ids: integers ``[B, S]``, or broadcastable to it: ``[S]``, ``[B, 1]``.
            inputs_embeds: ``[B, S, D]``, instead of ``input_ids``.
            encoder_hidden_states: ``[B, S_encoder, D]``, for cross-attention, with its mask ``[B, S_encoder]``.
            past_key_values: a cache of earlier tokens; the same object is returned, extended.
            use_cache: whether a decoder returns its cache; None takes ``config.use_cache``.
            output_attentions, output_hidden_states, return_dict: None takes the config's.

        Returns:
            ``BaseModelOutputWithPoolingAndCrossAttentions``, or a tuple of its members.

        Raises:
            InputError, InputTypeError: an argument is wrong; the message names it.
        """
        cache = self._cache(past_key_values, use_cache, encoder_hidden_states is not None)
        past_length = self.past_length(cache)
        encoder = (
            pack_encoder_states(self.config, encoder_hidden_states, encoder_attention_mask)
            if self.config.is_decoder
            else None
        )
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        batch = self.batch(*given, past_length, whole=encoder is not None and encoder.attention_mask is not None)
        if encoder is not None and encoder.shape[0] != batch.shape[0]:
            raise InputError(
                f"encoder_hidden_states holds {counted(encoder.shape[0], 'text')}, but the batch has {batch.shape[0]}."
            )
        collected = self._collected(batch, output_attentions, output_hidden_states)
        more: dict[str, Any] = {} if collected is None else {"collected": collected}
        cached = self._returns_cache(use_cache)
        refuse_unequal_rows(batch, cache)
        if isinstance(batch, Rectangle):
            embedded = self._embedded(batch, past_length)
            masks = self._masks(batch, encoder, encoder_hidden_states, past_length, embedded.dtype)
            hidden = self.encoder(embedded, **masks, past_key_values=cache, use_cache=cached, **more).last_hidden_state
        else:
            hidden = self.encoder(self.embeddings(batch), batch, encoder, None, cache, **more).last_hidden_state
        last, hidden = _last(hidden, batch, input_ids, collected)
        output = BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=last,
            pooler_output=None if self.pooler is None else self._pooled(hidden, batch),
            past_key_values=cache if cached else None,
            **({} if collected is None else collected.members()),
        )
        return self.as_requested(output, return_dict)

    @property
    def gradient_checkpointing(self) -> bool:
        return self.is_gradient_checkpointing

    def pooled(
        self, batch: Batch, output_attentions: bool | None = None, output_hidden_states: bool | None = None
    ) -> Any:
        """Return the model's output for heads that need only ``pooler_output``, not ``last_hidden_state``.

        The last block is computed only for each text's first token, unless more of it is requested.
        """
        if (
            isinstance(batch, Rectangle)
            or self.pooler is None
            or self._collected(batch, output_attentions, output_hidden_states) is not None
            or not self._can_skip(batch)
        ):
            asked = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
            return self(batch, **asked, return_dict=True)
        first = self.encoder.first_tokens(self.embeddings(batch), batch)
        return BaseModelOutputWithPoolingAndCrossAttentions(pooler_output=self.pooler(first, batch.cls_tokens()))

    def first_tokens(self, packed: Packed) -> Tensor:
        """Return the last hidden state of each text's first token, ``[B, D]``, computing no other in the last block."""
        if has_observers(self) or not self._can_skip(packed):
            return packed.first(self(packed, return_dict=True).last_hidden_state)
        packed = self.pack_inputs(packed)
        return self.encoder.first_tokens(self.embeddings(packed), packed)

    def _can_skip(self, packed: Packed) -> bool:
        return not has_hooks(self) and self.encoder.can_skip(packed)

    def _embedded(self, batch: Rectangle, past_length: int) -> Tensor:
        """Return embeddings ``[B, S, D]``, called as in the reference."""
        given = {name: value for name, value in batch.arguments.items() if name != "attention_mask"}
        return self.embeddings(**given, past_key_values_length=past_length)

    def _masks(
        self,
        batch: Rectangle,
        encoder: Packed | None,
        encoder_hidden_states: Tensor | Packed | None,
        past_length: int,
        dtype: torch.dtype,
    ) -> dict[str, Any]:
        """Return the encoder's other arguments as in the reference: masks, and the inputs of cross-attention."""
        eager, causal = self.config._attn_implementation == "eager", self.config.is_decoder
        states, states_mask = None, None
        if encoder is not None:
            assert encoder.inputs_embeds is not None
            given = isinstance(encoder_hidden_states, Tensor)
            states = encoder_hidden_states if given else encoder.pad(encoder.inputs_embeds)
            states_mask = encoder_mask_of(encoder, batch.shape, eager, dtype)
        return {
            "attention_mask": attention_mask_of(batch, past_length, causal, eager, dtype),
            "encoder_hidden_states": states,
            "encoder_attention_mask": states_mask,
            "position_ids": batch.arguments["position_ids"],
        }

    def _pooled(self, hidden_states: Tensor, batch: Batch) -> Tensor:
        """Return the pooled vectors ``[B, D]`` of the texts' first tokens; zeros for empty texts (decision 5)."""
        if not isinstance(batch, Rectangle):
            return cast(Any, self.pooler)(hidden_states, batch)
        pooled, empty = cast(Any, self.pooler)(batch.first_to_front(hidden_states)), batch.empty()
        return pooled if empty is None else pooled.masked_fill(empty[:, None], 0)

    def _collected(
        self, batch: Batch, output_attentions: bool | None, output_hidden_states: bool | None
    ) -> Collected | None:
        """Return the collector of the requested attentions and hidden states, or None."""
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        hidden_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return Collected(batch, attentions, hidden_states) if attentions or hidden_states else None

    def past_length(self, cache: CacheLike | EncoderDecoderCache | None) -> int:
        """Return the number of tokens in ``cache`` (0 for None), after checking that it can be used."""
        if cache is None:
            return 0
        if not hasattr(cache, "get_seq_length"):
            raise InputTypeError(f"past_key_values must be a bertie.Cache or one like it, not {type(cache).__name__}.")
        if self.training and self.is_gradient_checkpointing:
            raise InputError(
                "past_key_values cannot be used in training under activation checkpointing; leave one out."
            )
        return cache.get_seq_length()

    def _returns_cache(self, use_cache: bool | None) -> bool:
        wanted = self.config.use_cache if use_cache is None else use_cache
        return self.config.is_decoder and wanted and not (self.training and self.is_gradient_checkpointing)

    def _cache(
        self, given: CacheLike | EncoderDecoderCache | None, use_cache: bool | None, cross_attention: bool
    ) -> CacheLike | EncoderDecoderCache | None:
        """Return the cache to use: the caller's, a new one if requested, or None."""
        if given is not None or not self._returns_cache(use_cache):
            return given
        return EncoderDecoderCache() if cross_attention or self.config.is_encoder_decoder else Cache()


def refuse_unequal_rows(batch: Batch, cache: CacheLike | EncoderDecoderCache | None) -> None:
    """Raise InputError if cached packed texts of unequal lengths would have to be computed as padded rows."""
    if not isinstance(batch, Rectangle) or not batch.came_packed:
        return
    if isinstance(cache, Cache | EncoderDecoderCache) and cache.get_seq_length():
        lengths = cache.lengths
        if lengths is None or len(set(lengths)) > 1:
            raise InputError(
                "Packed texts of unequal lengths cannot be continued in a cache while a hook, or a module that "
                "replaces a part, observes the model, which then computes rows; remove it, or pass rows with an "
                "attention_mask."
            )


def _last(hidden: Tensor, batch: Batch, entered: Any, collected: Collected | None) -> tuple[Tensor, Tensor]:
    """Return the last hidden states as the model returns them, and as its own pooler needs them."""
    if isinstance(entered, Unpadded):  # from a task model, which pads its own outputs
        return (batch.packed.unpad(hidden) if isinstance(batch, Rectangle) else hidden), hidden
    if collected is not None and collected.hidden_states:
        return collected.hidden_states[-1], hidden
    return shown(batch, hidden)


def __getattr__(name: str) -> Any:
    # transformers' package of this name has all of BERT's classes; here they import it, so they load lazily
    if name.startswith("Bert"):
        for module in (bertie, importlib.import_module("bertie.models.bert.modeling_bert")):
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
