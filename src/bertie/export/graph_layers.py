"""Linear layers, in float32 and int8, and layer normalisation as graph nodes."""

from typing import TypeAlias

import numpy as np

from bertie.engine.activations import Array
from bertie.engine.linear import Int8Weight, fuse
from bertie.engine.normalization import Norm
from bertie.engine.weights import Weights
from bertie.export.graph import FLOAT, Graph

Table: TypeAlias = Array | Int8Weight
# without VNNI, processors sum two byte-by-weight products in 16 bits with saturation: 255 · 128 is below 2¹⁵
_LARGEST_PAIR = 127
_TINY = 1e-12


def linear(graph: Graph, weights: Weights, x: str, *names: str) -> str:
    """Apply the layers with these names to ``x [..., in]``, and concatenate their outputs."""
    tables, biases = [weights.table(name) for name in names], [weights.array(f"{name}.bias") for name in names]
    whole = fuse(tables)
    if whole is None:
        parts = [product(graph, x, table, name) for table, name in zip(tables, names, strict=True)]
        made = graph.add("Concat", *parts, axis=-1)
    else:
        made = product(graph, x, whole, names[0])
    return graph.add("Add", made, graph.constant(np.concatenate(biases), f"{names[0]}.bias"))


def product(graph: Graph, x: str, table: Table, name: str, stored: str | None = None) -> str:
    """Return ``x [..., in]`` times a weight ``[out, in]``, which may already be the value ``stored [in, out]``.

    Layers with 16-bit inputs are computed in float32 with the dequantised weights.
    """
    if not isinstance(table, Int8Weight):
        return graph.add("MatMul", x, stored or graph.constant(table.T, f"{name}.weight"))
    table = without_overflow(table)
    stored = stored or graph.constant(table.weight.T, f"{name}.weight")
    if table.input_scale is not None:
        x = graph.add("Mul", x, table.input_scale)
    if table.input_bits == 8:
        return _rounded_product(graph, x, stored, table.scale)
    return graph.add("Mul", graph.add("MatMul", x, graph.add("Cast", stored, to=FLOAT)), table.scale)


def _rounded_product(graph: Graph, x: str, weight: str, scale: Array) -> str:
    """Return the int8 product. The runtime quantises all rows with one range.

    Each row is therefore divided by its largest magnitude first, so that large rows do not crush small ones.
    """
    largest = graph.add("Max", graph.add("ReduceMax", graph.add("Abs", x), [-1], keepdims=1), _TINY)
    whole, step, zero = graph.add_many("DynamicQuantizeLinear", 3, graph.add("Div", x, largest))
    whole = graph.add("Cast", graph.add("MatMulInteger", whole, weight, zero), to=FLOAT)
    return graph.add("Mul", graph.add("Mul", whole, graph.add("Mul", step, scale)), largest)


def without_overflow(table: Int8Weight) -> Int8Weight:
    """Return a weight rescaled so that no two adjacent values of one sign add up to more than ``_LARGEST_PAIR``."""
    padded = np.pad(table.weight, ((0, 0), (0, table.weight.shape[1] % 2))).astype(np.float32)
    largest = [np.maximum(side, 0).reshape(len(padded), -1, 2).sum(2).max(1) for side in (padded, -padded)]
    wider = np.maximum(np.maximum(*largest) / _LARGEST_PAIR, 1).astype(np.float32)
    weight = np.rint(table.weight / wider[:, None]).astype(np.int8)
    return table._replace(weight=weight, scale=table.scale * wider)


def layer_norm(graph: Graph, x: str, norm: Norm, name: str) -> str:
    """Return layer normalisation of ``x [..., D]``."""
    weight, bias = graph.constant(norm.weight, f"{name}.weight"), graph.constant(norm.bias, f"{name}.bias")
    return graph.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=norm.eps)
