"""EncoderDecoderConfig: the configs of an encoder and a decoder, and the fields of the pair."""

import copy
import os
from collections.abc import Mapping
from typing import Any, Self

from bertie.config import BertConfig, config_file
from bertie.errors import ConfigError, InputTypeError, nearest
from bertie.files import read_json
from bertie.messages import short

# the fields of the pair and their defaults
_DEFAULTS: dict[str, Any] = {
    "is_encoder_decoder": True,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
    "tie_word_embeddings": True,
    "use_cache": True,
    "output_hidden_states": False,
    "output_attentions": False,
    "return_dict": True,
    "gradient_checkpointing": False,
    "architectures": None,
    "dtype": None,
    "tokenizer_class": None,
    "quantization_config": None,
    "finetuning_task": None,
    "transformers_version": None,
    "_name_or_path": "",
    "_attn_implementation": None,
}
_HALVES = ("encoder", "decoder")


class EncoderDecoderConfig(BertConfig):
    """Two BERTs as one model: the decoder attends to the encoder's hidden states as it generates.

    It is read, checked and written like a `BertConfig`, but has no dimensions of its own.

    Args:
        encoder, decoder: their configs, or the mappings from their files; the decoder's must have ``is_decoder`` and
            ``add_cross_attention`` set.
        tie_encoder_decoder: whether both share their weights, an option of older versions.
        fields: ``pad_token_id``, ``decoder_start_token_id`` and the like, by the names of a `BertConfig`.

    Raises:
        ConfigError: a config is missing or invalid, or the two do not fit together; also raised when one is set later.
        InputTypeError: an argument is not a field.
    """

    model_type = "encoder-decoder"
    encoder: BertConfig
    decoder: BertConfig
    tie_encoder_decoder: bool

    def __init__(
        self,
        encoder: BertConfig | Mapping[str, Any] | None = None,
        decoder: BertConfig | Mapping[str, Any] | None = None,
        *,
        tie_encoder_decoder: bool = False,
        **fields: Any,
    ) -> None:
        for name in [name for name in fields if name not in _DEFAULTS]:
            raise InputTypeError(f"EncoderDecoderConfig has no field {name!r}.{nearest(name, _DEFAULTS)}")
        for half, given in zip(_HALVES, (encoder, decoder), strict=True):
            if not isinstance(given, BertConfig | Mapping):
                raise ConfigError(f"{half} is {short(given)}; give a BertConfig, or the mapping of one")
            setattr(self, half, given if isinstance(given, BertConfig) else BertConfig.from_dict(dict(given)))
        self.tie_encoder_decoder = tie_encoder_decoder
        for name, default in _DEFAULTS.items():
            setattr(self, name, default if fields.get(name) is None else fields[name])
        self.validate()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_attn_implementation":  # the model's choice holds for both halves
            for half in _HALVES:
                getattr(self, half)._attn_implementation = value or getattr(self, half)._attn_implementation
        super().__setattr__(name, value)

    def validate(self) -> None:
        """Check both configs, alone and together."""
        for half in _HALVES:
            getattr(self, half).validate()
            if not getattr(self, half).family.is_bert:
                raise ConfigError(
                    f"the {half} is of type {getattr(self, half).model_type!r}; an EncoderDecoderModel has two BERTs"
                )
        if not self.decoder.add_cross_attention:  # a config with cross-attention is always a decoder's
            raise ConfigError(
                "the decoder's is_decoder and add_cross_attention must be true; "
                "EncoderDecoderConfig.from_encoder_decoder_configs sets them"
            )
        width = getattr(self.decoder, "cross_attention_hidden_size", None)
        if width is not None and not width == self.encoder.hidden_size == self.decoder.hidden_size:
            raise ConfigError(
                f"the decoder's cross_attention_hidden_size is {width}, but the encoder's hidden states are "
                f"{self.encoder.hidden_size} wide and are projected to {self.decoder.hidden_size}; leave it out"
            )

    @classmethod
    def from_encoder_decoder_configs(
        cls, encoder_config: BertConfig, decoder_config: BertConfig, **fields: Any
    ) -> Self:
        """Return the config of the pair; ``decoder_config`` is made a decoder with cross-attention, in place."""
        decoder_config.is_decoder = decoder_config.add_cross_attention = True
        return cls(encoder_config.to_dict(), decoder_config.to_dict(), **fields)

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Any:
        """Return the decoder's or the encoder's config if requested, else this one."""
        return self.decoder if decoder else self.encoder if encoder else self

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any) -> Any:
        """Return the config that a mapping describes, with ``overrides`` applied; unknown keys are kept."""
        data = copy.deepcopy(dict(config_dict))
        kind = data.pop("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ConfigError(f"model_type is {kind!r}; an EncoderDecoderModel is of type {cls.model_type!r}")
        unused = {name: overrides.pop(name) for name in list(overrides) if name not in (*_DEFAULTS, *data)}
        for name in [name for name, value in unused.items() if value is not None and not return_unused_kwargs]:
            raise InputTypeError(f"EncoderDecoderConfig has no field {name!r}.{nearest(name, _DEFAULTS)}")
        data |= overrides
        if "torch_dtype" in data:
            data["dtype"] = data.pop("torch_dtype") if data.get("dtype") is None else data["dtype"]
        own = (*_HALVES, "tie_encoder_decoder", *_DEFAULTS)
        config = cls(**{name: data.pop(name) for name in own if data.get(name) is not None})
        for name, value in data.items():
            if name not in own and not name.startswith("_") and not hasattr(cls, name):
                setattr(config, name, value)
        return (config, unused) if return_unused_kwargs else config

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a new plain dict, with both configs as nested dicts."""
        halves = {half: getattr(self, half).to_dict() for half in _HALVES}
        fields = {name: value for name, value in super().to_dict().items() if name not in _HALVES}
        if not self.tie_encoder_decoder:
            del fields["tie_encoder_decoder"]
        return fields | halves


def is_encoder_decoder(name_or_path: str | os.PathLike[str]) -> bool:
    """Whether the config.json of a model's folder or name declares an encoder-decoder."""
    return read_json(config_file(name_or_path, {})).get("model_type") == EncoderDecoderConfig.model_type
