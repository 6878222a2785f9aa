"""The layers of a sentence-transformers folder before and after the pooling, as modules with their weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.checkpoints import open_checkpoint
from bertie.checkpoints.tensors import FLOATS
from bertie.errors import CheckpointError
from bertie.files import read_json
from bertie.hub import member
from bertie.layers.linear import linear
from bertie.rules import Rule, short
from bertie.tasks.recipe import Layer

# classes of torch.nn that work number by number and need no arguments: a file names no other code to run
ACTIVATIONS = (
    *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU"),
    *("LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign"),
    *("Tanh", "Tanhshrink"),
)
_WIDTH = Rule("numbers of a vector", "integer", 1, 1_048_576)
_RULES = {
    "in_features": _WIDTH,
    "out_features": _WIDTH,
    "dimension": _WIDTH,
    "dropout": Rule("share of numbers left out in training", "number", 0, 1),
    "bias": Rule("whether there is one", "true or false"),
    "use_residual": Rule("whether the input is added", "true or false"),
    "activation_function": Rule("a class of torch.nn", "text", none=True),
}


class Dense(nn.Module):
    """A linear layer with its activation, and if ``residual`` its input, or a linear layer of it, added."""

    def __init__(self, width: int, out: int, bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out, bias)
        self.activation = activation
        self.residual = nn.Linear(width, out, bias=False) if residual and width != out else None
        self._adds = residual

    def forward(self, vectors: Tensor) -> Tensor:
        made: Tensor = self.activation(linear(vectors, self.linear))
        if not self._adds:
            return made
        return made + (vectors if self.residual is None else linear(vectors, self.residual))


class LayerNorm(nn.Module):
    """Layer normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, vectors: Tensor) -> Tensor:
        normal: Tensor = self.norm(vectors)
        return normal


class Normalize(nn.Module):
    """Vectors of length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1)


def load_layers(layers: Sequence[Layer], device: torch.device) -> tuple[nn.Module, ...]:
    """Return the layers in eval mode, in float32 like the pooled vectors.

    Raises:
        CheckpointError: a file is missing or damaged, or asks for an activation bertie does not have.
    """
    made = (_module(layer).to(device=device, dtype=torch.float32) for layer in layers)
    return tuple(module.eval().requires_grad_(False) for module in made)


def width_after(layers: Sequence[nn.Module], width: int) -> int:
    """Return how many numbers a vector of ``width`` has behind the layers."""
    return next((layer.linear.out_features for layer in reversed(layers) if isinstance(layer, Dense)), width)


def activation(named: Any, where: str) -> nn.Module:
    """Return the activation of a class of torch.nn that a file names; null and none at all are left to the caller.

    Raises:
        CheckpointError: it is none that bertie has.
    """
    package, _, name = str(named).rpartition(".")
    if package.partition(".")[0] != "torch" or name not in ACTIVATIONS:
        raise CheckpointError(
            f"{where} asks for {short(named)}, which bertie does not have; it has {', '.join(ACTIVATIONS)} of torch.nn"
        )
    found: nn.Module = getattr(nn, name)()
    return found


def _module(layer: Layer) -> nn.Module:
    if layer.folder is None or layer.kind == "Normalize":
        return Normalize()
    path = member(layer.folder, "config.json")
    config = read_json(path, rules=_RULES)
    if layer.kind == "Dropout":
        return nn.Dropout(config.get("dropout", 0.2))
    try:
        if layer.kind == "LayerNorm":
            return _filled(LayerNorm(config["dimension"]), layer.folder)
        named = config.get("activation_function", "torch.nn.Tanh")
        made = Dense(
            config["in_features"],
            config["out_features"],
            config.get("bias", True),
            nn.Identity() if named is None else activation(named, repr(str(path))),
            config.get("use_residual", False),
        )
    except KeyError as error:
        raise CheckpointError(f"{str(path)!r} says nothing of {error}; fetch the model again") from error
    return _filled(made, layer.folder)


def _filled(module: nn.Module, folder: Path) -> nn.Module:
    """Return the module with the weights in its folder."""
    checkpoint = open_checkpoint(folder)
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    stored = {name: info.shape for name, info in checkpoint.infos.items() if info.dtype in FLOATS}
    if wanted != stored:
        raise CheckpointError(
            f"{str(checkpoint.path)!r} has tensors of the shapes {short(stored)}, but its config.json means "
            f"{short(wanted)}; the files do not belong together, fetch the model again"
        )
    module.load_state_dict({name: checkpoint.tensor(name) for name in wanted})
    return module
