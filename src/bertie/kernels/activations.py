"""The activations that ``config.hidden_act`` can name, as the kernels compute them."""

import numpy as np

from bertie.kernels import gemm
from bertie.kernels.arrays import Floats, Numbers, check_float32, check_numbers, check_returned, empty
from bertie.kernels.library import InstructionSet

# names that share a code have formulas that differ by less than the rounding of float32
ACTIVATION_CODES = {
    **dict.fromkeys(("gelu", "gelu_python"), gemm.GELU),
    **dict.fromkeys(
        ("gelu_accurate", "gelu_fast", "gelu_new", "gelu_python_tanh", "gelu_pytorch_tanh"), gemm.GELU_TANH
    ),
    **dict.fromkeys(("silu", "swish"), gemm.SILU),
    "gelu_10": gemm.GELU_10,
    "hardswish": gemm.HARDSWISH,
    "laplace": gemm.LAPLACE,
    "leaky_relu": gemm.LEAKY_RELU,
    "linear": gemm.NONE,
    "mish": gemm.MISH,
    "quick_gelu": gemm.QUICK_GELU,
    "relu": gemm.RELU,
    "relu2": gemm.RELU2,
    "relu6": gemm.RELU6,
    "sigmoid": gemm.SIGMOID,
    "tanh": gemm.TANH,
}


def bias_gelu(x: Numbers, bias: Floats, instruction_set: InstructionSet, *, threads: int) -> Numbers:
    """Return the exact GELU(x + bias) of rows ``x [T, F]`` and a bias ``[F]``, in the dtype of ``x``."""
    x, bias = np.ascontiguousarray(x), np.ascontiguousarray(bias)
    rows, columns = x.shape
    is_half = check_numbers((columns,), x)
    check_float32((columns,), bias)
    y = empty(rows, columns, dtype=x.dtype)
    instruction_set.bias_gelu(x.ctypes.data, bias.ctypes.data, y.ctypes.data, rows, columns, is_half, threads)
    return y


def bias_gelu_backward(
    dy: Numbers, x: Numbers, bias: Floats, instruction_set: InstructionSet, *, threads: int
) -> tuple[Numbers, Floats]:
    """Return the gradients of ``x`` and ``bias``, given that of the result of `bias_gelu`."""
    dy, x, bias = map(np.ascontiguousarray, (dy, x, bias))
    rows, columns = x.shape
    is_half = check_numbers((rows, columns), x, dy)
    check_float32((columns,), bias)
    dx, dbias = empty(rows, columns, dtype=x.dtype), empty(columns)
    addresses = (each.ctypes.data for each in (x, bias, dy, dx, dbias))
    check_returned(instruction_set.bias_gelu_backward(*addresses, rows, columns, is_half, threads), rows)
    return dx, dbias
