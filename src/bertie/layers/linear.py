"""Linear layers that always compute with their current weights, by the fastest product that allows it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.capture import is_intercepted, is_tracing
from bertie.errors import InputError, InputTypeError
from bertie.kernels import library
from bertie.layers.int8 import Int8Linear
from bertie.layers.products import MIN_PACKED_ROWS, mkl_is_slower, packed_linear, packing_pays

# Up to this many rows, dot products with unpacked weights are faster than MKL's product, by 5 to 50 % for 1 to 24 rows
# of 384 to 3,072 numbers in one thread, since weights are read from memory only once.
MAX_UNPACKED_ROWS = 24


class Linear(nn.Linear):
    """``torch.nn.Linear`` that uses bertie's kernels for float32 inference on a CPU where they are faster.

    Nothing derived from the weights is kept between calls.
    """

    deterministic = False  # whether a row's result must not depend on its batch; see `make_deterministic`

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if is_tracing():
            return F.linear(input, weight, bias)
        packs = self.deterministic or packing_pays(input)
        if not (packs or input.numel() <= MAX_UNPACKED_ROWS * weight.shape[-1]) or not _suits_kernels(
            input, weight, bias
        ):
            return F.linear(input, weight, bias)
        if packs:
            return _packed_product(input, weight, bias)
        return _unpacked_product(input, weight, bias) if weight.is_contiguous() else F.linear(input, weight, bias)


def make_deterministic(*models: nn.Module) -> None:
    """Make ``models`` compute results that do not depend, bit by bit, on the batch: on a CPU, without gradients.

    Weights are then packed for every product, which takes most of a short text's time; an engine
    (`bertie.optimize`, or a pipeline made from a folder) has this property at no cost.

    Raises:
        InputTypeError: one is not a PyTorch model.
        InputError: one of their layers cannot be computed in this way.
    """
    for model in models:
        check_module(model, "make_deterministic")
    named = [
        (name, module)
        for model in models
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Int8Linear) and module.weight.is_cpu
    ]
    for name, module in named:
        if why := _why_not_deterministic(module):
            raise InputError(f"deterministic=True cannot be kept: {name or 'the layer'} {why}.")
    for _, module in named:
        if isinstance(module, Linear):
            module.deterministic = True


def check_module(model: object, function: str) -> None:
    """Refuse an engine, a pipeline or a name in a function that takes PyTorch models."""
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            f"{function} takes a PyTorch model, not a {type(model).__name__}; bertie's AutoModel classes load one "
            "(explain() of an engine or a pipeline says how it computes)."
        )


def explain_product(module: nn.Linear | Int8Linear) -> str:
    """Return how a linear layer is computed in inference."""
    if isinstance(module, Int8Linear):
        return module.explain()
    if module.weight.device.type != "cpu" or not isinstance(module, Linear) or module.weight.dtype != torch.float32:
        return "PyTorch's product"
    if module.deterministic:
        return "bertie's kernels, the weights packed for every product: deterministic"
    if library.best() is None:
        return "PyTorch's product"
    packed = f", and from {MIN_PACKED_ROWS:,} rows on, the weights packed for every product" if mkl_is_slower() else ""
    return f"PyTorch's product; bertie's kernels for up to {MAX_UNPACKED_ROWS} rows{packed}"


def _suits_kernels(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether bertie's kernels may compute the product: plain float32 tensors, no gradients, no interception."""
    return (
        library.best() is not None
        and is_plain(x)
        and is_plain(weight)
        and (bias is None or (is_plain(bias) and bias.shape == weight.shape[:1]))
        and weight.dim() == 2
        and x.numel() > 0
        and x.shape[-1] == weight.shape[1]
        and not (torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in (x, weight, bias)))
        and not torch.is_autocast_enabled("cpu")
        and not is_intercepted()
    )


def is_plain(values: Tensor) -> bool:
    """Whether a tensor is dense float32 in CPU memory, as the kernels require."""
    return (
        type(values) in (Tensor, nn.Parameter)
        and values.dtype == torch.float32
        and values.is_cpu
        and values.layout == torch.strided
        and not values.is_neg()
        and values.dim() > 0
    )


def _unpacked_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    best = library.best()
    assert best is not None
    columns, depth = weight.shape
    x, bias = x.contiguous(), None if bias is None else bias.contiguous()
    y = x.new_empty(*x.shape[:-1], columns)
    # addresses, not arrays: making three arrays would take a tenth of the time of such a short product
    addresses = weight.data_ptr(), None if bias is None else bias.data_ptr(), x.data_ptr(), y.data_ptr()
    best.linear_unpacked(*addresses, x.numel() // depth, depth, columns, torch.get_num_threads())
    return y


def _packed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return packed_linear(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], len(weight))


def _why_not_deterministic(module: nn.Module) -> str:
    if isinstance(module, Int8Linear):
        return "" if module.has_kernel() else "is int8, and this processor has no kernel for it"
    if type(module) is not Linear:
        return f"is a {type(module).__module__}.{type(module).__name__}, not a bertie.layers.linear.Linear"
    if module.weight.dtype != torch.float32:
        return f"has weights of {module.weight.dtype}, not torch.float32"
    return "" if library.best() is not None else f"needs bertie's kernels, and {library.why_no_kernels()}"
