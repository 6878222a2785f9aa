"""The activation functions in NumPy, by the kernels' codes, for machines without kernels."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.kernels import gemm as kernels

Array: TypeAlias = NDArray[np.float32]
Activation: TypeAlias = Callable[[Array], Array]
# erf(z) = z P(z²) / Q(z²) for |z| ≤ 3.92, a least-squares fit within 1e-6; beyond, it is ±1 in float32
_P: tuple[float, ...] = (
    *(1.128378987312317, 0.19276389479637146, 0.05306044965982437),
    *(0.0038683125749230385, 0.0002874776837415993, 2.0347206373116933e-06),
)
_Q: tuple[float, ...] = (
    *(1.0, 0.5041642189025879, 0.11508453637361526),
    *(0.01517227478325367, 0.0011881085811182857, 3.8070396840339527e-05),
)


def erf(x: Array) -> Array:
    """Return the error function within 1e-6."""
    z = np.clip(x, -3.92, 3.92)
    square = z * z
    return z * _polynomial(square, _P) / _polynomial(square, _Q)


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    """Return ``1 / (1 + exp(-x))`` without overflow, in the dtype of ``x``."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: Array) -> Array:
    """Return ``log(1 + exp(x))``."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def gelu(x: Array) -> Array:
    """Return ``x Φ(x)`` (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return x * np.float32(0.5) * (1 + erf(x * np.float32(math.sqrt(0.5))))


def _gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)))


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _laplace(x: Array) -> Array:
    return np.float32(0.5) * (1 + erf((x - np.float32(0.707107)) / np.float32(0.282095 * math.sqrt(2))))


ACTIVATIONS: dict[int, Activation] = {
    kernels.GELU: gelu,
    kernels.GELU_10: lambda x: np.clip(gelu(x), -10, 10),
    kernels.GELU_TANH: _gelu_tanh,
    kernels.HARDSWISH: lambda x: x * np.clip(x + 3, 0, 6) / np.float32(6),
    kernels.LAPLACE: _laplace,
    kernels.LEAKY_RELU: lambda x: np.where(x > 0, x, np.float32(0.01) * x),
    kernels.MISH: lambda x: x * np.tanh(softplus(x)),
    kernels.NONE: lambda x: x,
    kernels.QUICK_GELU: lambda x: x * sigmoid(np.float32(1.702) * x),
    kernels.RELU: _relu,
    kernels.RELU2: lambda x: np.square(_relu(x)),
    kernels.RELU6: lambda x: np.clip(x, 0, 6),
    kernels.SIGMOID: sigmoid,
    kernels.SILU: lambda x: x * sigmoid(x),
    kernels.TANH: np.tanh,
}


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Any:
    total = np.full_like(x, coefficients[-1])
    for each in coefficients[-2::-1]:
        total = total * x + np.float32(each)
    return total
