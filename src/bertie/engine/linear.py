"""Linear layers of the engine: weights packed once for this processor, or NumPy's product if there are no kernels."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.engine.activations import ACTIVATIONS, Array
from bertie.kernels import library
from bertie.kernels.gemm import NONE, Allocate, PackedWeight
from bertie.kernels.gemm_int8 import Int8PackedWeight, QuantParams, params_8_bits, params_16_bits
from bertie.memory import anonymous_pages

# selects inputs or outputs of a layer
Kept: TypeAlias = NDArray[np.bool_] | slice
ALL = slice(None)


class Linear(Protocol):
    """``x [T, in]`` to ``[T, out]``, then the epilogue: an activation, or a residual ``[T, out]`` added."""

    in_features: int
    out_features: int

    def __call__(self, x: Array, epilogue: int = NONE, residual: Array | None = None, *, threads: int) -> Array: ...


class Int8Weight(NamedTuple):
    """A layer of a quantized checkpoint; `bertie.layers.int8.Int8Linear` defines its parts."""

    weight: NDArray[np.int8]  # [out, in]
    scale: Array  # [out]
    input_scale: Array | None  # [in]
    input_bits: int = 8  # inputs are quantized to at least this many

    def dequantized(self) -> Array:
        """Return the whole weight in float32."""
        numbers = self.weight * self.scale[:, None]
        return numbers if self.input_scale is None else numbers * self.input_scale

    def quantizes_like(self, other: "Int8Weight") -> bool:
        """Whether both quantize inputs in the same way, so that one product can compute both."""
        if (self.input_scale is None) != (other.input_scale is None) or self.input_bits != other.input_bits:
            return False
        mine, others = self.input_scale, other.input_scale
        return mine is None or others is None or np.array_equal(mine, others)


def kept_part(weight: Array | Int8Weight, outputs: Kept, inputs: Kept) -> Array | Int8Weight:
    """Return a weight with only these outputs and inputs."""
    if not isinstance(weight, Int8Weight):
        return weight[outputs][:, inputs]
    smooth = weight.input_scale
    return weight._replace(
        weight=weight.weight[outputs][:, inputs],
        scale=weight.scale[outputs],
        input_scale=None if smooth is None else smooth[inputs],
    )


def dense(weight: Array | Int8Weight, bias: Array, allocate: Allocate = anonymous_pages, threads: int = 1) -> Linear:
    """Return the fastest linear layer on this processor, its weights packed into memory from ``allocate``."""
    best = library.best()
    if isinstance(weight, Int8Weight):
        if best is not None:
            params = quant_params(weight, best.multiplies_bytes)
            return Int8PackedWeight(weight.weight, weight.scale, bias, params, best, allocate, threads)
        weight = weight.dequantized()
    return NumpyWeight(weight, bias) if best is None else PackedWeight(weight, bias, best, allocate, threads)


def side_by_side(
    weights: Sequence[Array | Int8Weight], biases: Sequence[Array], allocate: Allocate, threads: int
) -> Linear:
    """Return layers with the same input as one layer, whose output is theirs concatenated."""
    fused = fuse(weights)
    if fused is None:
        return SideBySide([dense(*each, allocate, threads) for each in zip(weights, biases, strict=True)])
    return dense(fused, np.concatenate(biases), allocate, threads)


def fuse(weights: Sequence[Array | Int8Weight]) -> Array | Int8Weight | None:
    """Return the weights of layers with the same input as one weight; None if one product cannot compute them all."""
    if len(weights) == 1:
        return weights[0]
    int8 = [each for each in weights if isinstance(each, Int8Weight)]
    if not int8:
        return np.concatenate([np.asarray(each) for each in weights])
    if len(int8) < len(weights) or not all(map(int8[0].quantizes_like, int8)):
        return None
    weight, scale = [each.weight for each in int8], [each.scale for each in int8]
    return int8[0]._replace(weight=np.concatenate(weight), scale=np.concatenate(scale))


class NumpyWeight:
    """Unpacked weights ``[out, in]``, for NumPy's product."""

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight, bias
        self.out_features, self.in_features = weight.shape

    def __call__(self, x: Array, epilogue: int = NONE, residual: Array | None = None, *, threads: int) -> Array:
        del threads  # NumPy's BLAS has its own setting
        y = x @ self.weight.T + self.bias
        return ACTIVATIONS[epilogue](y) if residual is None else y + residual


class SideBySide:
    """Several layers with the same input that cannot be fused, since they quantize it differently."""

    def __init__(self, layers: Sequence[Linear]) -> None:
        self.layers = layers
        self.out_features = sum(layer.out_features for layer in layers)
        self.in_features = layers[0].in_features

    def __call__(self, x: Array, epilogue: int = NONE, residual: Array | None = None, *, threads: int) -> Array:
        assert residual is None
        return np.concatenate([layer(x, epilogue, threads=threads) for layer in self.layers], axis=1)


def quant_params(weight: Int8Weight, multiplies_bytes: bool) -> QuantParams:
    """Return how a layer's inputs are quantized: to 16 bits if 8 are too coarse, or unsupported by the processor."""
    if multiplies_bytes and weight.input_bits == 8:
        return params_8_bits(weight.input_scale)
    return params_16_bits(weight.weight, weight.input_scale)


def rounds_bytes(layer: Linear) -> bool:
    """Whether a layer's inputs are quantized to 8 bits."""
    return isinstance(layer, Int8PackedWeight) and layer.struct.input_bits == 8
