"""save_pretrained: write a model's weights, each once, and its config to a folder, all or nothing."""

import copy
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertie.checkpoints import write_checkpoint
from bertie.checkpoints.names import in_names_of
from bertie.checkpoints.parameters import architecture_of
from bertie.config import BertConfig
from bertie.errors import ConfigError, InputError
from bertie.generation.generation_config import FILE_NAME as GENERATION_FILE
from bertie.generation.generation_config import GenerationConfig
from bertie.layers.int8 import Int8Embedding
from bertie.models.model_state import tied_aliases
from bertie.models.quantized import declaration

_TABLES = {
    "vocab_size": "word_embeddings",
    "type_vocab_size": "token_type_embeddings",
    "max_position_embeddings": "position_embeddings",
}


def save_pretrained(
    model: Any,
    save_directory: str | os.PathLike[str],
    *,
    is_main_process: bool = True,
    state_dict: Mapping[str, Tensor] | None = None,
    max_shard_size: int | str = "5GB",
    safe_serialization: bool = True,
    variant: str | None = None,
    token: str | bool | None = None,
    push_to_hub: bool = False,
) -> None:
    """Write config.json and model.safetensors so that bertie and ``transformers`` can load the model.

    Args:
        model: a ``BertPreTrainedModel``.
        save_directory: the folder, created if needed; a failure leaves its files unchanged.
        is_main_process: False writes nothing (the other processes of a distributed run).
        state_dict: tensors to write instead of the model's own.
        max_shard_size: a larger model is split into files of at most this size, with an index.
        safe_serialization: only True; bertie writes no pickles.
        variant: ``"fp16"`` writes model.fp16.safetensors.
        token: ignored, as nothing is uploaded.
        push_to_hub: only False.

    Raises:
        CheckpointError: the folder cannot be created or written.
        ConfigError: the config cannot be saved, for instance because its activation is a function.
        InputError: an argument is out of range.
    """
    del token
    if push_to_hub:
        raise InputError("push_to_hub=True: bertie does not upload; save to a folder and use 'hf upload'")
    if not safe_serialization:
        raise InputError(
            "safe_serialization=False would write a pickle; bertie writes safetensors, which all tools read"
        )
    if not is_main_process:
        return
    tensors = own_tensors(model, model.state_dict() if state_dict is None else state_dict)
    config = model.config_to_save()
    tensors = in_names_of(config.family, tensors, architecture_of(type(model)))
    others = {}
    if model.can_generate():
        others[GENERATION_FILE] = GenerationConfig.of(model.generation_config).to_json_string()
    write_checkpoint(
        save_directory, tensors, config.to_json_string(), max_shard_size=max_shard_size, variant=variant, others=others
    )


def saved_config(model: Any) -> BertConfig:
    """Return the config to save: the model's, with its class, dtype and actual sizes."""
    config: BertConfig = copy.copy(model.config)
    _take_sizes(config, model)
    config.gradient_checkpointing = False  # as in the reference, which applies the field only when a model is created
    config.architectures = [type(model).__name__]
    config.dtype = model.dtype
    config.quantization_config = declaration(model, config.quantization_config)
    config.validate()
    return config


def _take_sizes(config: BertConfig, model: Any) -> None:
    """Set ``config`` to the actual sizes of the embeddings, from which loading creates them."""
    embeddings = getattr(model.base_model, "embeddings", None)
    for field, name in _TABLES.items():
        table = getattr(embeddings, name, None)
        if isinstance(table, nn.Embedding | Int8Embedding):
            setattr(config, field, table.num_embeddings)
    decoder = model.get_output_embeddings()
    rows = config.vocab_size if decoder is None else decoder.weight.shape[0]
    if rows != config.vocab_size:
        raise ConfigError(
            f"the decoder scores {rows} tokens but the embeddings have {config.vocab_size}; call "
            f"resize_token_embeddings({config.vocab_size}) on the whole {type(model).__name__} before saving it"
        )


def own_tensors(model: Any, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a state dict to save: no aliases of tied weights, and no shared memory."""
    aliases = tied_aliases(model)
    seen: set[tuple[torch.device, int]] = set()
    tensors = {}
    for name, value in state_dict.items():
        if name in aliases and aliases[name] in state_dict:
            continue
        tensor = value.detach().contiguous()
        key = (tensor.device, tensor.untyped_storage().data_ptr())
        # safetensors refuses tensors that share memory without being declared tied
        tensors[name] = tensor.clone() if key in seen else tensor
        seen.add(key)
    return tensors
