"""bertie.dequantize: an int8 model's weights as numbers again, to be trained, or to open in other programs."""

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
    """Return a new float32 model with the numbers that an int8 model's weights stand for; ``model`` stays as it is.

    ``bertie.dequantize(bertie.BertForMaskedLM.from_pretrained("bertie-mini-uncased"))``

    It computes what the int8 model does, but for the rounding of each layer's inputs, and can be trained.

    Raises:
        InputTypeError: no model of bertie's, or none with int8 weights.
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
            wide.set_submodule(name, nn.Embedding.from_pretrained(_numbers(layer), padding_idx=padding))
    wide.config.quantization_config = None
    wide.tie_weights()
    return wide.requires_grad_(True).eval()


def to_train(model: Any, name: object) -> Any:
    """Return a model whose weights can learn: of an int8 one what these stand for, which is said."""
    if getattr(model.config, "quantization_config", None) is None:
        return model
    say_once(f"The weights of {str(name)!r} are int8; training begins with the float32 numbers that they stand for.")
    return dequantize(model)


@torch.no_grad()
def _linear(layer: Int8Linear) -> Linear:
    made = Linear(layer.in_features, layer.out_features, layer.bias is not None)
    made.weight.copy_(_numbers(layer) if layer.input_scale is None else _numbers(layer) * layer.input_scale)
    if layer.bias is not None:
        made.bias.copy_(layer.bias)
    return made


def _numbers(layer: Int8Linear | Int8Embedding) -> torch.Tensor:
    return layer.weight * layer.weight_scale[:, None]
