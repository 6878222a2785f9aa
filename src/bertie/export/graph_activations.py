"""The engine's activations as graph nodes."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from bertie.engine.activations import ACTIVATIONS as FORMULAS
from bertie.engine.activations import Activation, sigmoid
from bertie.export.graph import Graph
from bertie.kernels import gemm
from bertie.tasks.arrays import softmax
from bertie.tasks.vector_layers import ACTIVATIONS as CLASSES

Emit: TypeAlias = Callable[[Graph, str], str]


def activated(graph: Graph, formula: Activation, x: str) -> str:
    """Apply an activation of `bertie.engine.activations` or `bertie.tasks.vector_layers` to a value."""
    return _NODES[formula](graph, x)


def _operator(name: str, **attributes: Any) -> Emit:
    return lambda graph, x: graph.add(name, x, **attributes)


def _laplace(graph: Graph, x: str) -> str:
    scaled = graph.add("Div", graph.add("Sub", x, 0.707107), 0.282095 * math.sqrt(2))
    return graph.add("Mul", graph.add("Add", graph.add("Erf", scaled), 1.0), 0.5)


def _relu2(graph: Graph, x: str) -> str:
    positive = graph.add("Relu", x)
    return graph.add("Mul", positive, positive)


def _clip(low: float, high: float) -> Emit:
    return lambda graph, x: graph.add("Clip", x, np.float32(low), np.float32(high))


_gelu = _operator("Gelu")
_NODES: dict[Activation, Emit] = {
    np.asarray: lambda _, x: x,
    softmax: _operator("Softmax", axis=-1),
    sigmoid: _operator("Sigmoid"),
    CLASSES["ELU"]: _operator("Elu"),
    CLASSES["Hardshrink"]: _operator("Shrink", lambd=0.5),
    CLASSES["Hardsigmoid"]: _operator("HardSigmoid", alpha=1 / 6, beta=0.5),
    CLASSES["Hardtanh"]: _clip(-1, 1),
    CLASSES["Identity"]: lambda _, x: x,
    CLASSES["LogSigmoid"]: lambda graph, x: graph.add("Neg", graph.add("Softplus", graph.add("Neg", x))),
    CLASSES["SELU"]: _operator("Selu"),
    CLASSES["Softplus"]: _operator("Softplus"),
    CLASSES["Softshrink"]: _operator("Shrink", lambd=0.5, bias=0.5),
    CLASSES["Softsign"]: _operator("Softsign"),
    CLASSES["Tanhshrink"]: lambda graph, x: graph.add("Sub", x, graph.add("Tanh", x)),
    FORMULAS[gemm.GELU]: _gelu,
    FORMULAS[gemm.GELU_10]: lambda graph, x: _clip(-10, 10)(graph, _gelu(graph, x)),
    FORMULAS[gemm.GELU_TANH]: _operator("Gelu", approximate="tanh"),
    FORMULAS[gemm.HARDSWISH]: _operator("HardSwish"),
    FORMULAS[gemm.LAPLACE]: _laplace,
    FORMULAS[gemm.LEAKY_RELU]: _operator("LeakyRelu", alpha=0.01),
    FORMULAS[gemm.MISH]: _operator("Mish"),
    FORMULAS[gemm.NONE]: lambda _, x: x,
    FORMULAS[gemm.QUICK_GELU]: lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", graph.add("Mul", x, 1.702))),
    FORMULAS[gemm.RELU]: _operator("Relu"),
    FORMULAS[gemm.RELU2]: _relu2,
    FORMULAS[gemm.RELU6]: _clip(0, 6),
    FORMULAS[gemm.SILU]: lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    FORMULAS[gemm.TANH]: _operator("Tanh"),
}
