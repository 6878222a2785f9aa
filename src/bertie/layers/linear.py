"""Linear layers that compute with the weights they have at that moment, by the fastest product that allows it."""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.capture import capturing, observed
from bertie.errors import InputError, InputTypeError
from bertie.kernels import library
from bertie.kernels.arrays import short_lived
from bertie.kernels.gemm import PackedWeight
from bertie.layers.chip import chip
from bertie.layers.int8 import Int8Linear

# From so many rows on, packing the weights for one product takes less time than bertie's kernels save over MKL's AVX2
# code: 10 to 25 % of products of 384 to 3,072 columns in one thread. MKL's AVX-512 code is never slower than packing.
LEAST_ROWS = 512


class Linear(nn.Linear):
    """``torch.nn.Linear``, for inference in float32 on a CPU with bertie's kernels where packing the weights pays.

    Nothing of a weight is kept between two calls.

    Attributes:
        deterministic: whether a row's answer may not depend on the rows beside it; see `make_deterministic`.
    """

    deterministic = False

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        if capturing() or not (self.deterministic or packing_pays(input)) or not _can_be_packed(input, weight, bias):
            return F.linear(input, weight, bias)
        return _packed_product(input, weight, bias)


def make_deterministic(*models: nn.Module) -> None:
    """Have ``models`` computed, from now on, so that a row's answer is bitwise its own, without gradients on a CPU.

    Weights are then packed for every product, which takes most of a short text's time; an engine
    (`bertie.optimize`, or a pipeline made from a folder) has this property at no cost.

    Raises:
        InputTypeError: one is no PyTorch model.
        InputError: a layer of theirs cannot be computed so.
    """
    for model in models:
        check_module(model, "make_deterministic")
    named = [each for model in models for each in model.named_modules() if _is_linear_on_cpu(each[1])]
    for name, module in named:
        if why := _why_not_deterministic(module):
            raise InputError(f"deterministic=True cannot be kept: {name or 'the layer'} {why}.")
    for _, module in named:
        if isinstance(module, Linear):
            module.deterministic = True


def check_module(model: object, function: str) -> None:
    """Refuse an engine, a pipeline or a name where a function of PyTorch models is called.

    Raises:
        InputTypeError: it is no PyTorch model.
    """
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
    if _mkl_is_slower():
        return f"PyTorch's product; from {LEAST_ROWS:,} rows on bertie's kernels, the weights packed for every product"
    return "PyTorch's product"


def packing_pays(x: Tensor) -> bool:
    """Whether packing a weight for this product alone takes less time than it saves."""
    return _mkl_is_slower() and x.numel() >= LEAST_ROWS * x.shape[-1] > 0


@lru_cache(maxsize=1)
def _mkl_is_slower() -> bool:
    """Whether MKL leaves vectors unused that bertie's kernels use: on AMD's chips it runs its AVX2 code."""
    best = library.best()
    return chip().amd and best is not None and best.name.startswith("avx512")


def _can_be_packed(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether bertie's kernels may compute the product: plain float32 numbers, and nobody who wants to see it done."""
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return (
        library.best() is not None
        and all(type(each) in (Tensor, nn.Parameter) for each in tensors)
        and all(each.is_cpu and each.dtype == torch.float32 for each in tensors)
        and x.numel() > 0
        and x.shape[-1] == weight.shape[1]
        and not (torch.is_grad_enabled() and any(each.requires_grad for each in tensors))
        and not torch.is_autocast_enabled("cpu")
        and not observed()
    )


def _packed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    best = library.best()
    assert best is not None
    added = weight.new_zeros(len(weight)) if bias is None else bias
    threads = torch.get_num_threads()
    packed = PackedWeight(weight.detach().numpy(), added.detach().numpy(), best, short_lived, threads)
    product = packed(x.detach().reshape(-1, x.shape[-1]).numpy(), threads=threads)
    return torch.from_numpy(product).view(*x.shape[:-1], len(weight))


def _is_linear_on_cpu(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | Int8Linear) and module.weight.is_cpu


def _why_not_deterministic(module: nn.Module) -> str:
    if isinstance(module, Int8Linear):
        return "" if module.has_kernel() else "is int8, and this processor has no kernel for it"
    if type(module) is not Linear:
        return f"is a {type(module).__module__}.{type(module).__name__}, not a bertie.layers.linear.Linear"
    if module.weight.dtype != torch.float32:
        return f"has weights of {module.weight.dtype}, not torch.float32"
    return "" if library.best() is not None else f"needs bertie's kernels, and {library.why_none()}"
