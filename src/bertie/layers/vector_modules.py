"""The layers of a sentence-transformers folder as PyTorch modules, for PyTorch models."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bertie.layers.linear import Linear
from bertie.tasks.arrays import Array
from bertie.tasks.vector_layers import Dense, LayerNorm, VectorLayer


def as_modules(layers: Sequence[VectorLayer], device: torch.device) -> tuple[Callable[[Any], Any], ...]:
    """Return the layers for float32 tensors on ``device``, in eval mode; they accept arrays too."""
    return tuple(_module(layer, device) for layer in layers)


def _module(layer: VectorLayer, device: torch.device) -> Callable[[Any], Any]:
    if isinstance(layer, Dense):
        return DenseModule(layer).to(device).eval().requires_grad_(False)
    if isinstance(layer, LayerNorm):
        return LayerNormModule(layer).to(device).eval().requires_grad_(False)
    return layer


class VectorModule(nn.Module):
    """A layer that also accepts an array, and then returns one."""

    def __call__(self, vectors: Any) -> Any:
        if isinstance(vectors, np.ndarray):
            device = next(self.parameters()).device
            return super().__call__(torch.from_numpy(vectors).to(device)).cpu().numpy()
        return super().__call__(vectors)


class DenseModule(VectorModule):
    """`bertie.tasks.vector_layers.Dense` as a module."""

    def __init__(self, dense: Dense) -> None:
        super().__init__()
        self.linear = _linear(dense.weight, dense.bias)
        self.activation: nn.Module = getattr(nn, dense.activation)()
        self.residual = None if dense.residual is None else _linear(dense.residual, None)
        self._adds = dense.adds

    @property
    def width(self) -> int:
        return self.linear.out_features

    def forward(self, vectors: Tensor) -> Tensor:
        activated: Tensor = self.activation(self.linear(vectors))
        if not self._adds:
            return activated
        return activated + (vectors if self.residual is None else self.residual(vectors))


class LayerNormModule(VectorModule):
    """`bertie.tasks.vector_layers.LayerNorm` as a module."""

    def __init__(self, norm: LayerNorm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(len(norm.weight), norm.eps)
        self.norm.load_state_dict({"weight": torch.from_numpy(norm.weight), "bias": torch.from_numpy(norm.bias)})

    def forward(self, vectors: Tensor) -> Tensor:
        return self.norm(vectors)


def _linear(weight: Array, bias: Array | None) -> Linear:
    layer = Linear(weight.shape[1], weight.shape[0], bias is not None)
    arrays = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    layer.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return layer
