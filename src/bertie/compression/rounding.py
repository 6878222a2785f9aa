"""Floating-point layers → int8 layers: scales of rows and channels, chosen by the error they leave on real inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.compression.observe import Inputs
from bertie.engine.linear import quant_params
from bertie.layers.int8 import LARGEST, Int8Embedding, Int8Linear

# SmoothQuant's alpha (arXiv 2211.10438): how much of a channel's size moves from the input into the weights.
ALPHA = 0.5
_TINY = 1e-12
_SMALLEST_CHANNEL = 1e-5


@dataclass(frozen=True)
class Rounded:
    """Int8 layers that replace others, and their error: the root mean square over rows, relative to the output."""

    layers: list[Int8Linear]
    error: float


@torch.no_grad()
def round_layers(layers: Sequence[nn.Linear], inputs: Inputs, smoothed: bool) -> Rounded:
    """Return the int8 layers that come closest to ``layers`` on a sample of their common input."""
    sample = inputs.sample
    expected = torch.cat([layer(sample.to(layer.weight.dtype)).float() for layer in layers], dim=-1)
    tried = []
    for input_scale in _input_scales(layers, inputs) if smoothed else [None]:
        for input_range in [None] if smoothed else _ranges(sample):
            made = [_rounded(layer, input_scale, input_range) for layer in layers]
            tried.append(
                Rounded(made, _error(torch.cat([_product(layer, sample) for layer in made], dim=-1), expected))
            )
    return min(tried, key=lambda each: each.error)


def round_table(table: nn.Embedding) -> Int8Embedding:
    """Return a table of embeddings with rows of int8."""
    made = Int8Embedding(table.num_embeddings, table.embedding_dim)
    _fill(made, table.weight.detach().float())
    return made


def _input_scales(layers: Sequence[nn.Linear], inputs: Inputs) -> list[Tensor | None]:
    columns = torch.stack([layer.weight.detach().float().abs().amax(dim=0) for layer in layers]).amax(dim=0)
    size = inputs.largest.clamp(min=_SMALLEST_CHANNEL) ** ALPHA
    divisor = size / columns.clamp(min=_SMALLEST_CHANNEL) ** (1 - ALPHA)
    return [None, divisor.mean() / divisor]


def _ranges(sample: Tensor) -> Iterator[Tensor | None]:
    """Yield candidates for a row's range: None for its largest magnitude, or bounds for one-sided inputs."""
    yield None
    lowest, tops = float(sample.min()), sample.amax(dim=1)
    for share in (0.0, 0.05, 0.25, 0.5):
        top = float(tops.quantile(share))
        if 0 <= -lowest < top / 2:
            yield torch.tensor([lowest, top])
    if -lowest < 0.25:  # GELU and similar activations, for all texts
        yield torch.tensor([lowest, max(1.0, -2 * lowest)])


def _rounded(layer: nn.Linear, input_scale: Tensor | None, input_range: Tensor | None) -> Int8Linear:
    made = Int8Linear(
        layer.in_features, layer.out_features, layer.bias is not None, input_scale is not None, input_range is not None
    )
    weight = layer.weight.detach().float()
    _fill(made, weight if input_scale is None else weight / input_scale)
    for name, value in (("bias", layer.bias), ("input_scale", input_scale), ("input_range", input_range)):
        if value is not None:
            getattr(made, name).copy_(value.detach())
    return made


@torch.no_grad()
def _fill(made: Int8Linear | Int8Embedding, weight: Tensor) -> None:
    scale = (weight.abs().amax(dim=1) / LARGEST).clamp(min=_TINY)
    made.weight.copy_((weight / scale[:, None]).round())
    made.weight_scale.copy_(scale)


def _product(layer: Int8Linear, x: Tensor) -> Tensor:
    """Return the product of rounded rows in plain numbers: what calibration finds depends on no processor."""
    params = quant_params(layer.as_arrays(), multiplies_bytes=True)
    x = x.float() if layer.input_scale is None else x.float() * layer.input_scale
    divisors = (x if params.one_sided else x.abs()).amax(dim=1, keepdim=True).clamp_(min=params.min_divisor)
    whole = (x / divisors / params.scale).round_().add_(params.zero_point).clamp_(0, 255).sub_(params.zero_point)
    product = F.linear(whole, layer.weight.float()) * (layer.weight_scale * params.scale) * divisors
    return product if layer.bias is None else product + layer.bias


def _error(found: Tensor, expected: Tensor) -> float:
    lost = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=_TINY)
    return float(lost.square().mean().sqrt())
