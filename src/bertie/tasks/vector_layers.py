"""The layers of a sentence-transformers folder before and after pooling, with their weights, in NumPy.

`bertie.layers.vector_modules` turns them into PyTorch modules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bertie.checkpoints import open_checkpoint
from bertie.checkpoints.tensors import FLOATS
from bertie.engine.activations import ACTIVATIONS as FORMULAS
from bertie.engine.activations import Activation, sigmoid, softplus
from bertie.engine.linear import Linear, dense
from bertie.engine.normalization import Norm
from bertie.errors import CheckpointError
from bertie.files import read_json
from bertie.hub import member
from bertie.kernels import gemm
from bertie.messages import short
from bertie.rules import Rule
from bertie.tasks.arrays import Array
from bertie.tasks.operations import operations_on
from bertie.tasks.sentence_transformers_config import Layer
from bertie.threads import available_threads

_WIDTH = Rule("dimension of a vector", "integer", 1, 1_048_576)
_RULES = {
    "in_features": _WIDTH,
    "out_features": _WIDTH,
    "dimension": _WIDTH,
    "dropout": Rule("share of numbers dropped in training", "number", 0, 1),
    "bias": Rule("whether there is one", "true or false"),
    "use_residual": Rule("whether the input is added", "true or false"),
    "activation_function": Rule("a class of torch.nn", "string", none=True),
}


@dataclass(frozen=True, eq=False)
class Dense:
    """A linear layer with its activation, and a residual connection if ``adds``."""

    weight: Array  # float32 [out, in]
    bias: Array | None  # float32 [out]
    activation: str  # one of ACTIVATIONS
    adds: bool = False
    residual: Array | None = None  # float32 [out, in], projects the added input; None if the dimensions are equal

    @property
    def width(self) -> int:
        """The dimension of its output."""
        return len(self.weight)

    def __call__(self, vectors: Array) -> Array:
        threads = available_threads()
        output = ACTIVATIONS[self.activation](self._linear(vectors, threads=threads))
        if not self.adds:
            return output
        return output + (vectors if self._residual is None else self._residual(vectors, threads=threads))

    @cached_property
    def _linear(self) -> Linear:
        return dense(self.weight, np.zeros(self.width, np.float32) if self.bias is None else self.bias)

    @cached_property
    def _residual(self) -> Linear | None:
        return None if self.residual is None else dense(self.residual, np.zeros(self.width, np.float32))


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """Layer normalization with float32 ``weight [D]`` and ``bias [D]``."""

    weight: Array
    bias: Array
    eps: float = 1e-5

    def __call__(self, vectors: Array) -> Array:
        return Norm(self.weight, self.bias, self.eps)(vectors, available_threads())


@dataclass(frozen=True)
class Normalize:
    """Scales vectors, arrays or tensors, to length 1."""

    def __call__(self, vectors: Any) -> Any:
        return operations_on(vectors).normalize(vectors)


VectorLayer: TypeAlias = Dense | LayerNorm | Normalize


def load_layers(layers: Sequence[Layer]) -> tuple[VectorLayer, ...]:
    """Load the layers that have an effect at inference: all but dropout."""
    return tuple(loaded for layer in layers if (loaded := _load(layer)) is not None)


def apply_layers(layers: Sequence[Callable[[Any], Any]], vectors: Any) -> Any:
    """Apply layers to vectors, one after another."""
    for layer in layers:
        vectors = layer(vectors)
    return vectors


def width_after(layers: Sequence[Any], width: int) -> int:
    """Return the dimension of vectors of dimension ``width`` after the layers, these being arrays or modules."""
    return next((layer.width for layer in reversed(layers) if hasattr(layer, "width")), width)


def activation_name(named: Any, where: str) -> str:
    """Return the key in `ACTIVATIONS` for a class of torch.nn that a file names."""
    package, _, name = str(named).rpartition(".")
    if package.partition(".")[0] != "torch" or name not in ACTIVATIONS:
        raise CheckpointError(
            f"{where} asks for {short(named)}, which bertie does not have; of torch.nn it has {', '.join(ACTIVATIONS)}"
        )
    return name


def _load(layer: Layer) -> VectorLayer | None:
    if layer.folder is None or layer.kind == "Normalize":
        return Normalize()
    path = member(layer.folder, "config.json")
    config = read_json(path, rules=_RULES)
    if layer.kind == "Dropout":
        return None
    try:
        if layer.kind == "LayerNorm":
            arrays = _arrays(layer.folder, dict.fromkeys(("norm.weight", "norm.bias"), (config["dimension"],)))
            return LayerNorm(arrays["norm.weight"], arrays["norm.bias"])
        return _dense(config, layer.folder, path)
    except KeyError as error:
        raise CheckpointError(f"{str(path)!r} lacks {error}; fetch the model again") from error


def _dense(config: Mapping[str, Any], folder: Path, path: Path) -> Dense:
    width, out = config["in_features"], config["out_features"]
    named, adds = config.get("activation_function", "torch.nn.Tanh"), config.get("use_residual", False)
    activation = "Identity" if named is None else activation_name(named, repr(str(path)))
    wanted: dict[str, tuple[int, ...]] = {"linear.weight": (out, width)}
    wanted |= {"linear.bias": (out,)} if config.get("bias", True) else {}
    wanted |= {"residual.weight": (out, width)} if adds and width != out else {}
    arrays = _arrays(folder, wanted)
    return Dense(arrays["linear.weight"], arrays.get("linear.bias"), activation, adds, arrays.get("residual.weight"))


def _arrays(folder: Path, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return the arrays in a folder, whose names and shapes must be exactly those wanted."""
    checkpoint = open_checkpoint(folder)
    stored = {name: info.shape for name, info in checkpoint.infos.items() if info.dtype in FLOATS}
    if wanted != stored:
        raise CheckpointError(
            f"{str(checkpoint.path)!r} has tensors of the shapes {short(stored)}, but its config.json describes "
            f"{short(dict(wanted))}; the files do not belong together, fetch the model again"
        )
    return {name: checkpoint.float32(name) for name in wanted}


def _elu(x: Array) -> Array:
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))


def _selu(x: Array) -> Array:
    scale, alpha = np.float32(1.0507009873554805), np.float32(1.6732632423543772)
    return scale * (np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)))


# elementwise classes of torch.nn that need no arguments: a file can name no other code to run
ACTIVATIONS: dict[str, Activation] = {
    "CELU": _elu,
    "ELU": _elu,
    "GELU": FORMULAS[gemm.GELU],
    "Hardshrink": lambda x: np.where(np.abs(x) > np.float32(0.5), x, np.float32(0)),
    "Hardsigmoid": lambda x: np.clip(x / 6 + np.float32(0.5), 0, 1),
    "Hardswish": FORMULAS[gemm.HARDSWISH],
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Identity": lambda x: x,
    "LeakyReLU": FORMULAS[gemm.LEAKY_RELU],
    "LogSigmoid": lambda x: -softplus(-x),
    "Mish": FORMULAS[gemm.MISH],
    "ReLU": FORMULAS[gemm.RELU],
    "ReLU6": FORMULAS[gemm.RELU6],
    "SELU": _selu,
    "SiLU": FORMULAS[gemm.SILU],
    "Sigmoid": sigmoid,
    "Softplus": softplus,
    "Softshrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - np.float32(0.5), 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Tanh": np.tanh,
    "Tanhshrink": lambda x: x - np.tanh(x),
}
