"""Linear layers that compute with the weights they have at that moment, by the fastest product that allows it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.capture import is_intercepted, is_tracing
from bertie.errors import InputError, InputTypeError
from bertie.kernels import library
from bertie.layers.int8 import Int8Linear
from bertie.layers.products import LEAST_ROWS, mkl_is_slower, packed_linear, packing_pays

# Up to so many rows a dot product with each row of the weights, as they lie in memory, is faster than MKL's product:
# by 5 to 50 % for 1 to 24 rows of 384 to 3,072 numbers in one thread, since the weights then pass from memory once.
MOST_ROWS = 24


class Linear(nn.Linear):
    """``torch.nn.Linear``, for inference in float32 on a CPU with bertie's kernels where they are faster.

    Nothing of a weight is kept between two calls.
    """

    deterministic = False  # whether a row's answer may not depend on the rows beside it; see `make_deterministic`

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if is_tracing():
            return F.linear(input, weight, bias)
        packs = self.deterministic or packing_pays(input)
        if not (packs or input.numel() <= MOST_ROWS * weight.shape[-1]) or not _suits_kernels(input, weight, bias):
            return F.linear(input, weight, bias)
        if packs:
            return packed_linear(input.reshape(-1, input.shape[-1]), weight, bias).view(*input.shape[:-1], len(weight))
        return _unpacked_product(input, weight, bias) if weight.is_contiguous() else F.linear(input, weight, bias)


def make_deterministic(*models: nn.Module) -> None:
    """Have ``models`` computed, from now on, so that a row's answer is bitwise its own, without gradients on a CPU.

    Weights are then packed for every product, which takes most of a short text's time; an engine
    (`bertie.optimize`, or a pipeline made from a folder) has this property at no cost.

    Raises:
        InputTypeError: one is not a PyTorch model.
        InputError: a layer of theirs cannot be computed so.
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
    """Refuse an engine, a pipeline or a name where a function of PyTorch models is called."""
    if not isinstance(model, nn.Module):
        raise InputTypeError(
            f"{function} takes a PyTorch model, not a {type(model).__name__}; bertie's AutoModel classes load one "
            "(explain() of an engine or a pipeline says what computes there)."
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
    packed = f", and from {LEAST_ROWS:,} rows on, the weights packed for every product" if mkl_is_slower() else ""
    return f"PyTorch's product; bertie's kernels for up to {MOST_ROWS} rows{packed}"


def _suits_kernels(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether bertie's kernels may compute the product: plain float32 numbers, and nobody who wants to see it done."""
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
    """Whether numbers lie in memory as a kernel reads them."""
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
    # addresses, not arrays: these products are so short that three arrays would take a tenth of their time
    addresses = weight.data_ptr(), None if bias is None else bias.data_ptr(), x.data_ptr(), y.data_ptr()
    best.linear_unpacked(*addresses, x.numel() // depth, depth, columns, torch.get_num_threads())
    return y


def _why_not_deterministic(module: nn.Module) -> str:
    if isinstance(module, Int8Linear):
        return "" if module.has_kernel() else "is int8, and this processor has no kernel for it"
    if type(module) is not Linear:
        return f"is a {type(module).__module__}.{type(module).__name__}, not a bertie.layers.linear.Linear"
    if module.weight.dtype != torch.float32:
        return f"has weights of {module.weight.dtype}, not torch.float32"
    return "" if library.best() is not None else f"needs bertie's kernels, and {library.why_none()}"
