"""Parameter groups: which parameters are trained, which decay, and the learning rate of each layer, by BERT's names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from bertie.capture import keep_modes
from bertie.errors import InputError
from bertie.layers.int8 import CANNOT_BE_TRAINED

_EMBEDDINGS = re.compile(r"(^|\.)(embeddings|relative_attention_bias)\.")
_LAYER = re.compile(r"(^|\.)encoder\.layer\.(\d+)\.")
_HALF = (torch.float16, torch.bfloat16)


class Group(NamedTuple):
    """Names of parameters that are updated alike; ``rate`` is their share of the learning rate."""

    names: tuple[str, ...]
    rate: float
    decay: float


def depth(name: str, layers: int) -> int:
    """Return the depth of a parameter: 0 for embeddings, N + 1 for layer N, ``layers + 1`` for poolers and heads."""
    if found := _LAYER.search(name):
        return int(found[2]) + 1
    return 0 if _EMBEDDINGS.search(name) else layers + 1


def count_layers(names: Iterable[str]) -> int:
    return max((int(found[2]) + 1 for name in names if (found := _LAYER.search(name))), default=0)


def groups(model: nn.Module, weight_decay: float, layer_decay: float) -> list[Group]:
    """Return the groups of all trainable parameters; vectors (biases, LayerNorm) do not decay."""
    layers = count_layers(name for name, _ in model.named_parameters())
    found: dict[tuple[float, float], list[str]] = {}
    for name, parameter in trainable(model).items():
        rate = layer_decay ** (layers + 1 - depth(name, layers))
        found.setdefault((rate, weight_decay if parameter.dim() > 1 else 0.0), []).append(name)
    return [Group(tuple(names), rate, decay) for (rate, decay), names in found.items()]


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trainable parameters; of several names of a parameter, the first."""
    if any(parameter.dtype == torch.int8 for parameter in model.parameters()):
        raise InputError(CANNOT_BE_TRAINED)
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not found:
        raise InputError("No parameter of the model is trainable (requires_grad is False everywhere); unfreeze some.")
    for name, parameter in found.items():
        if parameter.dtype in _HALF:
            raise InputError(
                f"The parameter {name!r} is {str(parameter.dtype).removeprefix('torch.')}, in which small updates "
                "vanish; call model.float() before training (precision='bf16' computes in bf16 all the same)."
            )
    return found


def same_device(tensors: Mapping[str, torch.Tensor]) -> torch.device:
    """Return the device of all trainable parameters."""
    found = {tensor.device for tensor in tensors.values()}
    if len(found) > 1:
        raise InputError(
            f"The trainable parameters are on several devices ({', '.join(sorted(map(str, found)))}); "
            "call model.to() with one of them."
        )
    return found.pop()


@contextmanager
def frozen(model: nn.Module, layers: int | None) -> Iterator[None]:
    """Freeze the embeddings and the first ``layers`` layers within the block; None: nothing."""
    parameters = dict(model.named_parameters())
    count = count_layers(parameters)
    if layers is not None and layers > count:
        raise InputError(
            f"freeze is {layers}, but the model has {count} layers; allowed: 'embeddings' or 1 to {count}."
        )
    to_freeze = [
        parameter
        for name, parameter in parameters.items()
        if layers is not None and parameter.requires_grad and depth(name, count) <= layers
    ]
    try:
        for parameter in to_freeze:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in to_freeze:
            parameter.requires_grad_(True)


@contextmanager
def checkpointed(model: Any, wanted: bool) -> Iterator[None]:
    """Enable gradient checkpointing within the block, if ``wanted``."""
    if not wanted or getattr(model, "is_gradient_checkpointing", False):
        yield
        return
    if not hasattr(model, "gradient_checkpointing_enable"):
        kind = type(model).__name__
        raise InputError(f"gradient_checkpointing is True, but a {kind} does not support it; leave it out.")
    model.gradient_checkpointing_enable()
    try:
        yield
    finally:
        model.gradient_checkpointing_disable()


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return what training changes: the trainable parameters and all buffers, by name, not copied.

    Of sharded parameters it is this process's rows.
    """
    tensors: Mapping[str, torch.Tensor] = {**trainable(model), **dict(model.named_buffers())}
    return {name: own_rows(tensor.detach()) for name, tensor in tensors.items()}


def is_sharded(parameters: Mapping[str, torch.Tensor]) -> bool:
    """Whether the parameters are sharded over several processes."""
    return any(hasattr(parameter, "to_local") for parameter in parameters.values())


def own_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Return this process's rows of a tensor: the shard of a `DTensor`, all of any other."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


@torch.no_grad()
def restore(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy a `snapshot` back into the model, in place."""
    for name, tensor in snapshot(model).items():
        tensor.copy_(tensors[name])
        torch.autograd.graph.increment_version(tensor)


@contextmanager
def training_state_preserved(model: nn.Module) -> Iterator[None]:
    """Restore PyTorch's random state and the model's mode after the block, and leave no gradients."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), keep_modes(model):
        try:
            yield
        finally:
            for parameter in model.parameters():
                parameter.grad = None
