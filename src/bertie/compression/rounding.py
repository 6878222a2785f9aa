"""Floating-point layers → int8 layers, with scales of rows and channels chosen by the error on real inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.compression.observe import Inputs
from bertie.engine.linear import quant_params
from bertie.layers.int8 import LARGEST, Int8Embedding, Int8Linear

# SmoothQuant's alpha (arXiv 2211.10438): how much of a channel's scale moves from the input into the weights.
ALPHA = 0.5
_TINY = 1e-12
_SMALLEST_CHANNEL = 1e-5


@dataclass(frozen=True)
class Rounded:
    """Int8 layers, and their error relative to the output: the root mean square over rows."""

    layers: list[Int8Linear]
    error: float


@torch.no_grad()
def round_layers(layers: Sequence[nn.Linear], inputs: Inputs, smoothed: bool, input_bits: int = 8) -> Rounded:
    """Return the int8 layers that best approximate ``layers`` on a sample of their common input."""
    sample = inputs.sample
    expected = torch.cat([layer(sample.to(layer.weight.dtype)).float() for layer in layers], dim=-1)
    scales: list[Tensor | None] = [None]
    if smoothed:
        columns = torch.stack([layer.weight.detach().float().abs().amax(dim=0) for layer in layers]).amax(dim=0)
        size = inputs.largest.clamp(min=_SMALLEST_CHANNEL) ** ALPHA
        divisor = size / columns.clamp(min=_SMALLEST_CHANNEL) ** (1 - ALPHA)
        scales.append(divisor.mean() / divisor)
    candidates = []
    for input_scale in scales:
        rounded = [_round_layer(layer, input_scale, input_bits) for layer in layers]
        found = torch.cat([_product(layer, sample) for layer in rounded], dim=-1)
        error = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=_TINY)
        candidates.append(Rounded(rounded, float(error.square().mean().sqrt())))
    return min(candidates, key=lambda each: each.error)


def round_table(table: nn.Embedding) -> Int8Embedding:
    """Return an embedding table with int8 rows."""
    rounded = Int8Embedding(table.num_embeddings, table.embedding_dim)
    _fill(rounded, table.weight.detach().float())
    return rounded


def _round_layer(layer: nn.Linear, input_scale: Tensor | None, input_bits: int) -> Int8Linear:
    rounded = Int8Linear(
        layer.in_features, layer.out_features, layer.bias is not None, input_scale is not None, input_bits
    )
    weight = layer.weight.detach().float()
    _fill(rounded, weight if input_scale is None else weight / input_scale)
    for name, value in (("bias", layer.bias), ("input_scale", input_scale)):
        if value is not None:
            getattr(rounded, name).copy_(value.detach())
    return rounded


@torch.no_grad()
def _fill(module: Int8Linear | Int8Embedding, weight: Tensor) -> None:
    scale = (weight.abs().amax(dim=1) / LARGEST).clamp(min=_TINY)
    module.weight.copy_((weight / scale[:, None]).round())
    module.weight_scale.copy_(scale)


def _product(layer: Int8Linear, x: Tensor) -> Tensor:
    """Return the layer's product, simulated in float32, so that calibration does not depend on the processor."""
    params = quant_params(layer.as_arrays(), multiplies_bytes=True)
    x = x.float() if layer.input_scale is None else x.float() * layer.input_scale
    low, high = (-x).amax(dim=1, keepdim=True).clamp_(min=0), x.amax(dim=1, keepdim=True).clamp_(min=0)
    if params.bits == 16:
        low = high = torch.maximum(low, high)
    scale = (low + high).clamp_(min=_TINY) * params.step
    zero_point = (low / scale).round_() if params.bits == 8 else 0
    integers = (x / scale).round_() + zero_point
    if params.bits == 8:
        integers = integers.clamp_(0, 255)
    product = F.linear(integers - zero_point, layer.weight.float()) * layer.weight_scale * scale
    return product if layer.bias is None else product + layer.bias
