"""EncoderDecoderModel: a BERT encoder, and a BERT decoder that attends to its hidden states (arXiv 1907.12461)."""

import os
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from bertie.attention.cache import CacheLike, EncoderDecoderCache
from bertie.config import IGNORED
from bertie.encoder_decoder_config import EncoderDecoderConfig
from bertie.errors import ConfigError, InputError, InputTypeError
from bertie.generation.generation_config import GenerationConfig
from bertie.layers.linear import Linear
from bertie.layers.rectangle import Given, Rectangle, Unpadded, shown
from bertie.models.bert import BertModel
from bertie.models.causal_lm import BertLMHeadModel
from bertie.models.encoder_decoder_generating import generate
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.saving import saved_config
from bertie.outputs import BaseModelOutputWithPoolingAndCrossAttentions, ModelOutput, Seq2SeqLMOutput
from bertie.packing import Packed


class Source(NamedTuple):
    """An encoded source: the encoder's output, and the states for cross-attention with their mask."""

    output: ModelOutput
    states: Tensor | Packed
    mask: Tensor | None


class EncoderDecoderModel(BertPreTrainedModel):
    """Two BERTs as one model; ``encoder`` reads the source, ``decoder`` generates the target.

    Args:
        config: the config of the pair; None: made from those of the two models.
        encoder, decoder: the two models; None: new ones. Their configs become parts of ``config``.

    Raises:
        ConfigError: neither a config nor both models are given, or they do not fit together.
        InputTypeError: one of them is not such a model.
    """

    config_class: ClassVar[type[EncoderDecoderConfig]] = EncoderDecoderConfig
    base_model_prefix: ClassVar[str] = "encoder_decoder"
    accepts_loss_kwargs: ClassVar[bool] = True
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        f"decoder.{alias}": f"decoder.{source}" for alias, source in BertLMHeadModel._tied_weights_keys.items()
    }
    config: EncoderDecoderConfig

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: BertModel | None = None,
        decoder: BertLMHeadModel | None = None,
    ) -> None:
        for name, model, kind in (("encoder", encoder, BertModel), ("decoder", decoder, BertLMHeadModel)):
            if model is not None and not isinstance(model, kind):
                raise InputTypeError(f"{name} is a {type(model).__name__}; it must be a bertie.{kind.__name__}.")
        if config is None:
            if encoder is None or decoder is None:
                raise ConfigError("give a config, or both an encoder and a decoder")
            config = EncoderDecoderConfig.from_encoder_decoder_configs(encoder.config, decoder.config)
        super().__init__(config)
        self.encoder = BertModel(config.encoder) if encoder is None else encoder
        self.decoder = BertLMHeadModel(config.decoder) if decoder is None else decoder
        self.encoder.config, self.decoder.config = config.encoder, config.decoder
        if self.has_projection:
            self.enc_to_dec_proj = Linear(config.encoder.hidden_size, config.decoder.hidden_size)
        self.generation_config = GenerationConfig.from_model_config(config)
        self.post_init()

    @property
    def has_projection(self) -> bool:
        """Whether hidden states are projected from the encoder's width to the decoder's."""
        return self.config.encoder.hidden_size != self.config.decoder.hidden_size

    def forward(
        self,
        input_ids: Tensor | Packed | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | Packed | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: ModelOutput | tuple[Tensor, ...] | None = None,
        past_key_values: CacheLike | EncoderDecoderCache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        *,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        decoder_token_type_ids: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Seq2SeqLMOutput | tuple[Any, ...]:
        """Read sources ``[B, S]`` and score the next token at every token of targets ``[B, S_target]``.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds: the sources, as in
                ``BertModel.forward``; ``attention_mask`` also applies to ``encoder_outputs``.
            decoder_input_ids, decoder_inputs_embeds: the targets; None with ``labels``: these, shifted right by one.
            decoder_attention_mask, decoder_token_type_ids, decoder_position_ids: those of the targets.
            encoder_outputs: the encoder's output for these sources, if already computed.
            past_key_values, use_cache: as in ``BertModel.forward``.
            labels: ``[B, S_target]``, the correct tokens; -100 is ignored. No cache is kept with labels.
            num_items_in_batch: the divisor of the loss instead of the number of labels (gradient accumulation).
            output_attentions, output_hidden_states, return_dict: None takes the config's.

        Raises:
            ConfigError, InputError, InputTypeError: an argument is wrong; the message names it.
        """
        stated = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        asked = {name: bool(getattr(self.config, name)) if value is None else value for name, value in stated.items()}
        if encoder_outputs is None:
            given = Given(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
            source = self.read(given, **asked)
        else:
            source = self.read_before(encoder_outputs, attention_mask)
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = shifted = self.prepare_decoder_input_ids_from_labels(labels)
            if decoder_attention_mask is None:
                decoder_attention_mask = shifted.ne(self.config.pad_token_id or 0)
        found = self.decoder(
            decoder_input_ids,
            decoder_attention_mask,
            decoder_token_type_ids,
            decoder_position_ids,
            decoder_inputs_embeds,
            encoder_hidden_states=source.states,
            encoder_attention_mask=source.mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            shift_labels=labels,
            num_items_in_batch=num_items_in_batch,
            return_dict=True,
            **asked,
        )
        output = Seq2SeqLMOutput(
            loss=found.loss,
            logits=found.logits,
            past_key_values=found.past_key_values,
            decoder_hidden_states=found.hidden_states,
            decoder_attentions=found.attentions,
            cross_attentions=found.cross_attentions,
            encoder_last_hidden_state=source.output.last_hidden_state,
            encoder_hidden_states=source.output.hidden_states,
            encoder_attentions=source.output.attentions,
        )
        return self.as_requested(output, return_dict)

    def read(self, given: Given, **asked: bool) -> Source:
        """Encode sources, without their padding unless the encoder has observers."""
        batch = self.encoder.batch(*given)
        output = self.encoder(batch, return_dict=True, **asked)
        hidden = output.last_hidden_state
        if isinstance(batch, Rectangle):
            states, is_packed = self._projected(hidden), isinstance(given.input_ids, Packed)
            return Source(output, states_of(given.input_ids, states) if is_packed else states, given.attention_mask)
        if isinstance(batch, Unpadded):
            output.last_hidden_state, hidden = shown(batch, hidden)
        return Source(output, states_of(batch, self._projected(hidden)), None)

    def read_before(self, given: ModelOutput | tuple[Tensor, ...], attention_mask: Tensor | None) -> Source:
        """Return sources that were encoded before."""
        names = ("last_hidden_state", "hidden_states", "attentions")
        members = dict(zip(names, given, strict=False)) if isinstance(given, tuple) else dict(given)
        known = {name: value for name, value in members.items() if name in names}
        output = BaseModelOutputWithPoolingAndCrossAttentions(**known)
        return Source(output, self._projected(output.last_hidden_state), attention_mask)

    def _projected(self, hidden: Tensor) -> Tensor:
        return self.enc_to_dec_proj(hidden) if self.has_projection else hidden

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Return labels ``[B, S]`` shifted right: ``decoder_start_token_id`` first, ``pad_token_id`` for -100.

        Raises:
            ConfigError: the config lacks one of these tokens.
        """
        start, pad = self.config.decoder_start_token_id, self.config.pad_token_id
        if start is None or pad is None:
            name = "decoder_start_token_id" if start is None else "pad_token_id"
            raise ConfigError(f"{name} is None; set model.config.{name}, which is needed to make targets from labels")
        if labels.dim() != 2:
            raise InputError(f"labels has shape {tuple(labels.shape)}; without decoder_input_ids give [batch, length].")
        shifted = labels.roll(1, dims=1)
        shifted[:, :1] = start
        return shifted.masked_fill(shifted == IGNORED, pad)

    generate = generate

    @classmethod
    def from_encoder_decoder_pretrained(
        cls,
        encoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        decoder_pretrained_model_name_or_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return a model of two BERTs from folders or hub names; new cross-attention is initialised.

        Args:
            encoder_pretrained_model_name_or_path, decoder_pretrained_model_name_or_path: folders or hub names; None
                with ``encoder_model``, ``decoder_model``.
            kwargs: with the prefix ``encoder_`` or ``decoder_``, arguments of ``from_pretrained`` and fields of that
                half's config; ``encoder_model`` and ``decoder_model`` are loaded models; without a prefix, fields of
                the `EncoderDecoderConfig`, of which ``decoder_start_token_id`` is one.

        Raises:
            CheckpointError, ConfigError, InputTypeError: as in ``from_pretrained`` of each half.
        """
        halves = {}
        for half, kind, name in (
            ("encoder", BertModel, encoder_pretrained_model_name_or_path),
            ("decoder", BertLMHeadModel, decoder_pretrained_model_name_or_path),
        ):
            named = [each for each in kwargs if each.startswith(f"{half}_") and each != "decoder_start_token_id"]
            own = {each.removeprefix(f"{half}_"): kwargs.pop(each) for each in named}
            halves[half] = own.pop("model", None)
            if halves[half] is None:
                if name is None:
                    raise InputTypeError(f"give {half}_pretrained_model_name_or_path, or {half}_model")
                is_decoder = half == "decoder"
                own |= {"is_decoder": is_decoder, "add_cross_attention": is_decoder}
                halves[half] = kind.from_pretrained(name, **own)
        configs = halves["encoder"].config, halves["decoder"].config
        return cls(EncoderDecoderConfig.from_encoder_decoder_configs(*configs, **kwargs), **halves).eval()

    # Parts and weights.

    def get_encoder(self) -> BertModel:
        return self.encoder

    def get_decoder(self) -> BertLMHeadModel:
        return self.decoder

    def get_input_embeddings(self) -> nn.Module:
        """Return the encoder's word embeddings."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the encoder's word embeddings."""
        self.encoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the decoder's output layer."""
        return self.decoder.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace the decoder's output layer."""
        self.decoder.set_output_embeddings(new_embeddings)

    def resize_token_embeddings(self, *_: Any, **__: Any) -> nn.Module:
        """Raise InputError: there are two vocabularies."""
        raise InputError(
            "An encoder-decoder has two vocabularies; call model.encoder.resize_token_embeddings or "
            "model.decoder.resize_token_embeddings."
        )

    def tied_weights(self) -> dict[str, str]:
        """Return alias → source of the tied parameters within the decoder."""
        pairs = self.decoder.tied_weights().items()
        return {f"decoder.{alias}": f"decoder.{source}" for alias, source in pairs}

    def tie_weights(self) -> None:
        """Tie parameters within the decoder, and with ``tie_encoder_decoder`` those of both halves."""
        if self.config.tie_encoder_decoder:
            tie_halves(self.encoder, self.decoder.bert)
        self.decoder.tie_weights()

    def config_to_save(self) -> EncoderDecoderConfig:
        """Return the config to save, with the actual sizes of both halves."""
        encoder, decoder = saved_config(self.encoder), saved_config(self.decoder)
        halves = {"encoder": encoder.to_dict(), "decoder": decoder.to_dict()}
        config: EncoderDecoderConfig = EncoderDecoderConfig.from_dict(self.config.to_dict() | halves)
        config.architectures, config.dtype, config.gradient_checkpointing = [type(self).__name__], self.dtype, False
        return config

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        self.decoder._init_weights(module)

    def activation_checkpointing_enable(self, *args: Any, **kwargs: Any) -> None:
        """Checkpoint the blocks of both halves; arguments as in ``BertPreTrainedModel``."""
        for half in (self.encoder, self.decoder):
            half.activation_checkpointing_enable(*args, **kwargs)

    def activation_checkpointing_disable(self) -> None:
        """Undo ``activation_checkpointing_enable``."""
        for half in (self.encoder, self.decoder):
            half.activation_checkpointing_disable()

    @property
    def is_activation_checkpointing(self) -> bool:
        return self.encoder.is_activation_checkpointing


def states_of(packed: Packed, states: Tensor) -> Packed:
    """Return hidden states ``[T, D]`` of a batch as a plain `Packed`, for cross-attention."""
    plain = Packed(**{name: value for name, value in vars(packed).items() if name in Packed.__dataclass_fields__})
    return replace(plain, input_ids=None, inputs_embeds=states)


def tie_halves(encoder: nn.Module, decoder: nn.Module) -> None:
    """Replace the decoder's parameters by the encoder's with the same names."""
    own = dict(encoder.named_parameters())
    for name, _ in list(decoder.named_parameters()):
        if name in own:
            owner, _, leaf = name.rpartition(".")
            decoder.get_submodule(owner)._parameters[leaf] = own[name]
