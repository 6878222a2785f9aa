"""The activations that ``config.hidden_act`` can name, as the kernels compute them."""

from bertie.kernels import gemm
from bertie.kernels.arrays import Floats, check_float32, empty
from bertie.kernels.library import InstructionSet

# the formulas of one line differ by less than the rounding of float32
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


def activate(x: Floats, activation: int, instruction_set: InstructionSet, *, threads: int) -> Floats:
    """Return the activation of this code of every number of ``x``, of any shape."""
    check_float32(x.shape, x)
    y = empty(*x.shape)
    y[...] = x
    instruction_set.activation(y.ctypes.data, y.size, activation, threads)
    return y
