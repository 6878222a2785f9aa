"""int8 layers of PyTorch models: created when a model is loaded, declared in its config when it is saved."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import nn

from bertie.checkpoints import Checkpoint, TensorInfo
from bertie.checkpoints.names import canonical
from bertie.checkpoints.quantization import (
    INPUT_BITS,
    KEY,
    METHOD,
    OTHERS_KEY,
    SCALES,
    VERSION,
    check_scale,
    input_bits,
)
from bertie.layers.int8 import Int8Embedding, Int8Linear
from bertie.layers.linear import Linear


def declaration(model: nn.Module, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the ``quantization_config`` to save: ours if the model has int8 layers, else ``given`` if foreign."""
    layers = {name: each for name, each in model.named_modules() if isinstance(each, Int8Linear | Int8Embedding)}
    if layers:
        bits = {canonical(name): each.input_bits for name, each in layers.items() if isinstance(each, Int8Linear)}
        wide = {name: each for name, each in bits.items() if each != 8}
        return {KEY: METHOD, "version": VERSION, **({INPUT_BITS: wide} if wide else {})}
    return None if given is not None and METHOD in (given.get(KEY), given.get(OTHERS_KEY)) else given


def place_int8(model: Any, checkpoint: Checkpoint) -> None:
    """Replace the layers whose weights are stored as int8 by int8 layers on the meta device."""
    stored = {canonical(name): info for name, info in checkpoint.infos.items()}
    bits = input_bits(model.config.quantization_config)
    for name, module in list(model.named_modules()):
        infos = _infos(model, name, stored)
        if type(module) not in (Linear, nn.Linear, nn.Embedding) or "weight" not in infos:
            continue
        if infos["weight"].dtype == "int8":
            check_scale(checkpoint.path, name, infos)
            model.set_submodule(name, _empty(module, infos, bits.get(str(canonical(name)), 8)))


def int8_names(model: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that hold 8-bit integers."""
    named = model.named_parameters(remove_duplicate=False)
    return frozenset(name for name, parameter in named if parameter.dtype == torch.int8)


def _infos(model: Any, module: str, stored: dict[str | None, TensorInfo]) -> dict[str, TensorInfo]:
    """Return the stored tensors of a module's parameters, under their names or those they are tied to."""
    tied: dict[str, str] = model.tied_weights()

    def found() -> Iterator[tuple[str, TensorInfo]]:
        for leaf in ("weight", "bias", *SCALES):
            for name in (f"{module}.{leaf}", tied.get(f"{module}.{leaf}", "")):
                if (info := stored.get(canonical(name))) is not None:
                    yield leaf, info
                    break

    return dict(found())


def _empty(module: nn.Module, infos: dict[str, TensorInfo], bits: int) -> nn.Module:
    with torch.device("meta"):
        if isinstance(module, nn.Embedding):
            return Int8Embedding(module.num_embeddings, module.embedding_dim)
        layer = cast(nn.Linear, module)
        has_bias = layer.bias is not None
        return Int8Linear(layer.in_features, layer.out_features, has_bias, "input_scale" in infos, bits)
