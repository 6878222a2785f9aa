"""BertConfig: the fields of a BERT model, and reading and writing them as config.json."""

import copy
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

from bertie.config_mapping import LABELS, NOT_FIELDS, split, with_overrides
from bertie.errors import CheckpointError, ConfigError, InputTypeError, nearest
from bertie.families import FAMILIES, FamilyConfig, in_bert_names
from bertie.fields import (
    FIELDS,
    GENERAL,
    NUMBER_OF_LABELS,
    UNSUPPORTED,
    check_unsupported,
    checked,
    checked_indices,
    checked_labels,
)
from bertie.files import json_text, make_folder, read_json, write_text
from bertie.hub import ADAPTER_CONFIG, architectures_of_adapter, is_adapter, member, path_or_name, resolve
from bertie.layouts import describe_folder
from bertie.messages import short
from bertie.progress import say_once

CONFIG_NAME = "config.json"
# the name in google-research/bert and the first PyTorch checkpoints
OLD_CONFIG_NAME = "bert_config.json"
CONFIG_NAMES = (CONFIG_NAME, OLD_CONFIG_NAME)
# the label that losses ignore, as in the reference
IGNORED = -100
# left out of to_dict at these values: other programs' files do not have them
_OPTIONAL = dict.fromkeys(
    ("embedding_size", "sep_token_id", "decoder_start_token_id", "tokenizer_class", "quantization_config")
    + ("finetuning_task", "transformers_version")
) | {"position_embedding_type": "absolute", "gradient_checkpointing": False}


class BertConfig(FamilyConfig):
    """The shape and settings of a BERT model, or of a sibling that ``model_type`` names (`bertie.families`).

    Every field is checked when it is assigned (`bertie.fields.FIELDS` lists the allowed values), combinations of fields
    on construction and by `validate`. New attributes may be set and are saved; in the constructor they are an error.

    Raises:
        ConfigError: a field, or a combination of fields, is invalid; also raised when one is set or checked later.
        InputTypeError: an argument is not a field.
    """

    model_type: str = "bert"
    attribute_map: ClassVar[dict[str, str]] = {}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str | Callable[..., Any]
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    max_position_embeddings: int
    type_vocab_size: int
    embedding_size: int | None
    initializer_range: float
    layer_norm_eps: float
    pad_token_id: int | None
    position_embedding_type: str
    use_cache: bool
    classifier_dropout: float | None
    is_decoder: bool
    add_cross_attention: bool
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    sep_token_id: int | None
    decoder_start_token_id: int | None
    tie_word_embeddings: bool
    id2label: dict[int, str]
    label2id: dict[str, int]
    problem_type: str | None
    output_hidden_states: bool
    output_attentions: bool
    return_dict: bool
    chunk_size_feed_forward: int
    gradient_checkpointing: bool
    is_encoder_decoder: bool
    architectures: list[str] | None
    tokenizer_class: str | None
    quantization_config: dict[str, Any] | None
    finetuning_task: str | None
    transformers_version: str | None
    _attn_implementation: str | None

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str | Callable[..., Any] = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        *,
        embedding_size: int | None = None,
        position_embedding_type: str = "absolute",
        use_cache: bool = True,
        classifier_dropout: float | None = None,
        is_decoder: bool = False,
        add_cross_attention: bool = False,
        bos_token_id: int | None = None,
        eos_token_id: int | list[int] | None = None,
        sep_token_id: int | None = None,
        decoder_start_token_id: int | None = None,
        tie_word_embeddings: bool = True,
        num_labels: int | None = None,
        id2label: dict[int, str] | dict[str, str] | None = None,
        label2id: dict[str, int] | None = None,
        problem_type: str | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = True,
        chunk_size_feed_forward: int = 0,
        gradient_checkpointing: bool = False,
        is_encoder_decoder: bool = False,
        architectures: list[str] | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        tokenizer_class: str | None = None,
        quantization_config: dict[str, Any] | None = None,
        finetuning_task: str | None = None,
        transformers_version: str | None = None,
        name_or_path: str = "",
        _name_or_path: str = "",
        attn_implementation: str | None = None,
        model_type: str = "bert",
        **unknown: Any,
    ) -> None:
        given = dict(locals())
        for name in [name for name, value in unknown.items() if value is not None]:
            raise InputTypeError(
                f"BertConfig has no field {name!r}.{nearest(name, given)} To keep unknown keys of a file use "
                "BertConfig.from_dict; to add an attribute, set it afterwards"
            )
        given |= {"dtype": torch_dtype if dtype is None else dtype, "_name_or_path": name_or_path or _name_or_path}
        self.model_type = model_type
        if "embedding_size" in self.family.defaults and embedding_size is None:
            given["embedding_size"] = hidden_size
        self._attn_implementation = attn_implementation
        for name in FIELDS:
            setattr(self, name, given[name])
        self._set_labels(num_labels, id2label, label2id)
        self.validate()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "model_type":
            self._set_model_type(value)
        elif name == "id2label":
            labels = checked_labels(value)
            self.__dict__.update(id2label=labels, label2id={label: index for index, label in labels.items()})
        elif name == "label2id":
            self.__dict__["label2id"] = checked_indices(value)
        elif name in FIELDS:
            self.__dict__[name] = checked(name, value)
        else:
            object.__setattr__(self, name, value)

    def _set_model_type(self, value: Any) -> None:
        known = FAMILIES if self.model_type in FAMILIES else (self.model_type,)
        if value not in known:
            if value == "encoder-decoder":
                raise ConfigError(
                    f"model_type is {value!r}, a pair of BERTs; open it with EncoderDecoderModel or 'bertie generate'"
                )
            raise ConfigError(f"model_type is {value!r}; bertie runs models of type {', '.join(known)} only")
        if self.__dict__.setdefault("model_type", value) != value:
            raise ConfigError(f"model_type is {self.model_type!r} and cannot become {value!r}; make a new config")

    def validate(self) -> None:
        """Check the fields against each other."""
        for wrong, message in (
            (
                self.hidden_size % self.num_attention_heads,
                f"hidden_size is {self.hidden_size}, not a multiple of num_attention_heads "
                f"({self.num_attention_heads}); every head has the same width",
            ),
            (
                self.add_cross_attention and not self.is_decoder,
                "add_cross_attention is true but is_decoder is false; only a decoder has cross-attention",
            ),
            (
                self.pad_token_id is not None and self.pad_token_id >= self.vocab_size,
                f"pad_token_id is {self.pad_token_id}, outside the vocabulary of {self.vocab_size}",
            ),
            (
                self.problem_type == "single_label_classification" and self.num_labels == 1,
                "problem_type is 'single_label_classification' with one label; "
                "use num_labels=2, or 'regression' for a single number",
            ),
            (
                self.label2id != {label: index for index, label in self.id2label.items()},
                f"label2id {short(self.label2id)} is not the inverse of id2label {short(self.id2label)}; "
                "give id2label alone",
            ),
            *self.family_conflicts(),
        ):
            if wrong:
                raise ConfigError(message)

    # labels

    @property
    def num_labels(self) -> int:
        """Number of classes; setting another number renames them LABEL_0, LABEL_1, …"""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        if not NUMBER_OF_LABELS.allows(number):
            raise ConfigError(f"num_labels is {short(number)}; allowed: {NUMBER_OF_LABELS.allowed}")
        if "id2label" not in self.__dict__ or number != self.num_labels:
            self.id2label = {index: f"LABEL_{index}" for index in range(number)}

    def _set_labels(self, number: int | None, id2label: Any, label2id: Any) -> None:
        if id2label is None and label2id is not None:
            id2label = {index: label for label, index in checked_indices(label2id).items()}
        if id2label is None:
            self.num_labels = 2 if number is None else number
        else:
            self.id2label = id2label
        if number is not None and number != self.num_labels:
            raise ConfigError(
                f"num_labels is {short(number)} but id2label has {self.num_labels} labels; give one of them"
            )
        if label2id is not None:
            self.label2id = label2id

    # aliases of the reference

    @property
    def dtype(self) -> Any:
        """The dtype of the saved weights as a ``torch.dtype``, or None."""
        name = self.__dict__["dtype"]
        # stored by name, because reading a config must not import torch
        return name and getattr(importlib.import_module("torch"), name)

    @dtype.setter
    def dtype(self, value: Any) -> None:
        self.__dict__["dtype"] = checked("dtype", value)

    @property
    def name_or_path(self) -> str:
        """The name or folder the config was loaded from, or an empty string."""
        return str(self.__dict__["_name_or_path"])

    @name_or_path.setter
    def name_or_path(self, value: str | os.PathLike[str]) -> None:
        self._name_or_path = os.fspath(value)

    @property
    def torch_dtype(self) -> Any:
        """The older name of ``dtype``."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: Any) -> None:
        self.dtype = value

    @property
    def use_return_dict(self) -> bool:
        """The older name of ``return_dict``."""
        return self.return_dict

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Self:
        """Return this config: BERT has no parts with their own configs."""
        del decoder, encoder
        return self

    # reading

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        trust_remote_code: bool | None = None,
        return_unused_kwargs: bool = False,
        **overrides: Any,
    ) -> Self:
        """Return the config of a model folder, a config file or a hub name, with ``overrides`` in place of its fields.

        With ``return_unused_kwargs`` return ``(config, overrides that are not fields)``.

        Raises:
            CheckpointError: there is no such model, or its config.json cannot be read.
            ConfigError: a field of the file or an override is out of range, or the model is not a BERT.
            InputTypeError: an override is not a field.
        """
        if trust_remote_code:
            say_once("trust_remote_code is ignored: bertie never runs code from a model's folder")
        path, own = Path(path_or_name(pretrained_model_name_or_path)), dict[str, Any]()
        if subfolder or not os.path.isfile(path):
            place: dict[str, Any] = {
                "revision": revision,
                "token": token,
                "cache_dir": cache_dir,
                "subfolder": subfolder,
            }
            place |= {"local_files_only": local_files_only, "force_download": force_download}
            path = config_file(pretrained_model_name_or_path, place)
            # config_file has downloaded it
            place |= {"local_files_only": True, "force_download": False}
            folder = resolve(pretrained_model_name_or_path, files=[ADAPTER_CONFIG, *CONFIG_NAMES], **place)
            if is_adapter(folder):  # its config is the base model's, whose head differs
                own = {"architectures": architectures_of_adapter(folder)}
        try:
            return cls.from_dict(
                read_json(path) | own | {"_name_or_path": os.fspath(pretrained_model_name_or_path)},
                return_unused_kwargs=return_unused_kwargs,
                **overrides,
            )
        except ConfigError as error:
            raise ConfigError(f"{str(path)!r}: {error}") from None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], *, return_unused_kwargs: bool = False, **overrides: Any) -> Self:
        """Return the config that a mapping describes, with ``overrides`` applied; unknown keys are kept."""
        data, extra = split(
            cls, in_bert_names(config_dict), {name for name in LABELS if overrides.get(name) is not None}
        )
        extra |= {name: overrides.pop(name) for name in UNSUPPORTED if name in overrides}
        known = {*FIELDS, *NOT_FIELDS, "id2label", "label2id", "attn_implementation", *extra}
        unused = {name: overrides.pop(name) for name in list(overrides) if name not in known}
        for name in [name for name, value in unused.items() if value is not None and not return_unused_kwargs]:
            raise InputTypeError(f"BertConfig has no field {name!r}.{nearest(name, sorted(known))}")
        extra |= {name: overrides.pop(name) for name in list(overrides) if name in extra}
        config = cls(**with_overrides(data, overrides))
        for name, value in extra.items():
            setattr(config, name, value)
        check_unsupported(config.__dict__)
        return (config, unused) if return_unused_kwargs else config  # type: ignore[return-value]

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """Return the config in a JSON file; errors as in `from_pretrained`."""
        return cls.from_dict(read_json(json_file))

    # writing

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a new plain dict, with ``model_type`` and unknown fields, without run-time state."""
        fields = {
            name: value
            for name, value in self.__dict__.items()
            if (name in FIELDS or not name.startswith("_")) and not (name in _OPTIONAL and value == _OPTIONAL[name])
        }
        return copy.deepcopy(fields) | {"model_type": self.model_type}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return `to_dict` without its path and without general fields at their defaults."""
        return {
            name: value
            for name, value in self.to_dict().items()
            if name != "_name_or_path" and not (name in GENERAL and value == GENERAL[name])
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the config as JSON with its family's field names, by default as `to_diff_dict` has it."""
        fields = self.family.written_fields(self.to_diff_dict() if use_diff else self.to_dict())
        for name, value in fields.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                hint = "; name the activation instead" if name == "hidden_act" else ""
                raise ConfigError(f"{name} is {short(value)}, which cannot be saved as JSON{hint}") from error
        return json_text(fields)

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` to a file, atomically."""
        write_text(json_file_path, self.to_json_string(use_diff))

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False) -> None:
        """Write config.json into a folder, creating it if needed.

        Raises:
            CheckpointError: ``save_directory`` is a file or cannot be written, or ``push_to_hub`` is true.
            ConfigError: the fields contradict each other or cannot be saved.
        """
        if push_to_hub:
            raise CheckpointError("bertie does not upload; save to a folder and use 'hf upload' of huggingface_hub")
        self.validate()
        text = self.to_json_string()
        write_text(make_folder(save_directory) / CONFIG_NAME, text)

    def update(self, config_dict: dict[str, Any]) -> None:
        """Set every field of the mapping, then check them together."""
        for name, value in config_dict.items():
            setattr(self, name, value)
        self.validate()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BertConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # a config is mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {json.dumps(self.to_diff_dict(), indent=2, sort_keys=True, default=repr)}"


class AutoConfig:
    """The reference's name for loading any config; every one it returns is a `BertConfig`."""

    @staticmethod
    def from_pretrained(pretrained_model_name_or_path: str | os.PathLike[str], **arguments: Any) -> BertConfig:
        """As `BertConfig.from_pretrained`."""
        return BertConfig.from_pretrained(pretrained_model_name_or_path, **arguments)

    @staticmethod
    def for_model(model_type: str, **fields: Any) -> BertConfig:
        """Return a new config of the given type, such as ``"bert"``, with the type's defaults."""
        return BertConfig.from_dict({"model_type": model_type}, **fields)


def config_file(name_or_path: str | os.PathLike[str], place: dict[str, Any]) -> Path:
    """Return the path of a model's config.json; if there is none, the error says what was found instead."""
    folder = resolve(name_or_path, files=CONFIG_NAMES, **place)
    path = next((path for name in CONFIG_NAMES if (path := member(folder, name)).exists()), None)
    if path is None:
        there = describe_folder(name_or_path, folder, **place)
        raise CheckpointError(
            f"there is no {CONFIG_NAME} in {str(folder)!r}, so it is not a model's folder; "
            f"{there or 'give the folder of a saved model'}"
        )
    return path
