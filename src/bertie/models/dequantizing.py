"""bertie.dequantize: an int8 model converted back to float32, for training or for other programs."""

import copy
from typing import Any, TypeVar

import torch
from torch import nn

from bertie.errors import InputTypeError
from bertie.layers.int8 import Int8Embedding, Int8Linear
from bertie.layers.linear import Linear
from bertie.models.pretrained import BertPreTrainedModel
from bertie.progress import say_once

Model = TypeVar("Model", bound=BertPreTrainedModel)


def dequantize(model: Model) -> Model:
    """Return a new float32 model with the dequantised weights of an int8 model; ``model`` is not changed.

    ``bertie.dequantize(bertie.BertForMaskedLM.from_pretrained("bertie-mini-uncased"))``

    It computes the same as the int8 model, except for the rounding of each layer's inputs, and can be trained.

    Raises:
        InputTypeError: ``model`` is not one of bertie's models, or has no int8 weights.
    """
    if not isinstance(model, BertPreTrainedModel):
        raise InputTypeError(
            f"dequantize takes a model of bertie's, not a {type(model).__name__}; load it with from_pretrained"
        )
    layers = {name: each for name, each in model.named_modules() if isinstance(each, Int8Linear | Int8Embedding)}
    if not layers:
        raise InputTypeError("The model has no int8 weights; dequantize takes what bertie.quantize makes.")
    memo = {id(parameter): parameter for layer in layers.values() for parameter in layer.parameters()}
    wide = copy.deepcopy(model, memo)
    for name, layer in layers.items():
        padding = model.config.pad_token_id
        if isinstance(layer, Int8Linear):
            wide.set_submodule(name, _linear(layer))
        else:
            wide.set_submodule(name, nn.Embedding.from_pretrained(_dequantized(layer), padding_idx=padding))
    wide.config.quantization_config = None
    wide.tie_weights()
    return wide.requires_grad_(True).eval()


def to_train(model: Any, name: object) -> Any:
    """Return a trainable model: an int8 one is dequantised, with a warning."""
    if getattr(model.config, "quantization_config", None) is None:
        return model
    say_once(f"The weights of {str(name)!r} are int8; training starts from their dequantised float32 values.")
    return dequantize(model)


@torch.no_grad()
def _linear(layer: Int8Linear) -> Linear:
    made = Linear(layer.in_features, layer.out_features, layer.bias is not None)
    made.weight.copy_(_dequantized(layer) if layer.input_scale is None else _dequantized(layer) * layer.input_scale)
    if layer.bias is not None:
        made.bias.copy_(layer.bias)
    return made


def _dequantized(layer: Int8Linear | Int8Embedding) -> torch.Tensor:
    return layer.weight * layer.weight_scale[:, None]
