"""Fused parts of a block with their gradients, for training on a CPU without hooks on the modules involved.

A chain of small operators moves its tensors through memory once for each operator, and again in the backward pass.
Under bfloat16 autocast, products take and return bfloat16; hidden states, normalization and sums stay float32.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bertie.capture import has_hooks, is_intercepted
from bertie.dropout import Dropout, draw_params
from bertie.kernels import library
from bertie.kernels.activations import bias_gelu, bias_gelu_backward
from bertie.kernels.library import DropoutStruct, InstructionSet
from bertie.kernels.normalization import Normalized, residual_norm, residual_norm_backward
from bertie.layers.linear import Linear, is_plain
from bertie.layers.products import input_gradient, linear, parameter_gradients
from bertie.zero_copy import as_array, as_tensor, parameter_as_array

_DTYPES = (torch.float32, torch.bfloat16)
_KNOWN: frozenset[Any] = frozenset({Linear, nn.Linear, nn.LayerNorm, Dropout})


def can_fuse(x: Tensor, *modules: nn.Module) -> bool:
    """Whether these modules may be fused: they train on a CPU, on plain tensors, without hooks or modes.

    In training mode even without gradients, so that a checkpoint's recomputation uses the same dropout.
    """
    return (
        not is_intercepted()
        and (any(module.training for module in modules) or _differentiates(x, modules))
        and x.is_cpu
        and library.best() is not None
        and x.numel() > 0
        and _product_dtype(x) is not None
        and all(map(_is_known, modules))
    )


def _differentiates(x: Tensor, modules: Iterable[nn.Module]) -> bool:
    return torch.is_grad_enabled() and (
        x.requires_grad or any(each.requires_grad for module in modules for each in module.parameters())
    )


def _is_known(module: nn.Module) -> bool:
    parameters = module._parameters.values()
    return (
        type(module) in _KNOWN
        and not has_hooks(module)
        and all(each is not None and is_plain(each) and each.is_contiguous() for each in parameters)
    )


def _product_dtype(x: Tensor) -> torch.dtype | None:
    """Return the dtype in which products of ``x`` are computed, or None if the kernels do not support it."""
    if type(x) is not Tensor or x.layout != torch.strided or x.is_neg() or x.dtype not in _DTYPES:
        return None
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        return dtype if dtype == torch.bfloat16 else None
    return torch.float32 if x.dtype == torch.float32 else None


def project(x: Tensor, *layers: nn.Linear) -> tuple[Tensor, ...]:
    """Return the outputs of several linear layers of equal size for ``x [..., D]``, by one product."""
    rows = x.reshape(-1, x.shape[-1])
    dtype = _product_dtype(x)
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    projected = _Projections.apply(rows, dtype, *weights, *biases)
    return tuple(each.view(*x.shape[:-1], -1) for each in projected)


def dense_gelu(x: Tensor, dense: nn.Linear) -> Tensor:
    """Return the exact ``GELU(dense(x))`` of ``x [..., D]``."""
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = _DenseGelu.apply(rows, dense.weight, dense.bias, _product_dtype(x), library.best())
    return y.view(*x.shape[:-1], -1)


def dense_residual_norm(x: Tensor, residual: Tensor, dense: nn.Linear, dropout_p: float, norm: nn.LayerNorm) -> Tensor:
    """Return ``norm(residual + dropout(dense(x)))`` of ``x [..., F]`` and a float32 ``residual [..., D]``."""
    dropped = draw_params(dropout_p) if dropout_p > 0 else None
    rows, parameters = x.reshape(-1, x.shape[-1]), (dense.weight, dense.bias, norm.weight, norm.bias)
    residual_rows = residual.reshape(-1, residual.shape[-1])
    arguments = norm.eps, dropped, _product_dtype(x), library.best()
    y: Tensor = _DenseResidualNorm.apply(rows, residual_rows, *parameters, *arguments)
    return y.view(residual.shape)


class _Projections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.count = count = len(parameters) // 2
        weight, bias = (_concatenate(part).to(dtype) for part in (parameters[:count], parameters[count:]))
        ctx.dtype, x = x.dtype, x.detach().to(dtype)
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias).chunk(count, dim=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dy = _concatenate(grads, dim=1)
        needs_x, _, *needs = ctx.needs_input_grad
        dx = input_gradient(dy, weight).to(ctx.dtype) if needs_x else None
        gradients: list[Tensor | None] = [None] * len(needs)
        if any(needs):
            dweight, dbias = parameter_gradients(dy, x, needs_bias=any(needs[ctx.count :]))
            gradients[: ctx.count] = dweight.chunk(ctx.count)
            if dbias is not None:
                gradients[ctx.count :] = dbias.chunk(ctx.count)
        return dx, None, *(each if need else None for each, need in zip(gradients, needs, strict=True))


class _DenseGelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype, instruction_set: InstructionSet
    ) -> Tensor:
        ctx.dtype, ctx.instruction_set = x.dtype, instruction_set
        x, weight = x.detach().to(dtype), weight.detach().to(dtype)
        product = linear(x, weight)
        ctx.save_for_backward(x, weight, bias, product)
        threads = torch.get_num_threads()
        return as_tensor(bias_gelu(as_array(product), parameter_as_array(bias), instruction_set, threads=threads))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, product = ctx.saved_tensors
        dy, h, added = as_array(grads[0]), as_array(product), parameter_as_array(bias)
        gradients = bias_gelu_backward(dy, h, added, ctx.instruction_set, threads=torch.get_num_threads())
        dproduct, dbias = map(as_tensor, gradients)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        dx = input_gradient(dproduct, weight).to(ctx.dtype) if needs_x else None
        dweight = parameter_gradients(dproduct, x)[0] if needs_weight else None
        return dx, dweight, dbias if needs_bias else None, None, None


class _DenseResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        eps: float,
        dropout: DropoutStruct | None,
        dtype: torch.dtype,
        instruction_set: InstructionSet,
    ) -> Tensor:
        ctx.dtype, ctx.eps, ctx.arguments = x.dtype, eps, (dropout, instruction_set)
        x, weight = x.detach().to(dtype), weight.detach().to(dtype)
        product = linear(x, weight)
        norm = parameter_as_array(norm_weight), parameter_as_array(norm_bias), eps
        arrays = as_array(product), parameter_as_array(bias), as_array(residual)
        normalized = residual_norm(*arrays, norm, dropout, instruction_set, threads=torch.get_num_threads())
        y, *others = map(as_tensor, normalized)
        ctx.save_for_backward(x, weight, norm_weight, norm_bias, *others)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, norm_weight, norm_bias, *others = ctx.saved_tensors
        dy = as_array(grads[0])
        forward = Normalized(dy, *map(as_array, others))  # y is not needed: dy stands in for it
        norm = parameter_as_array(norm_weight), parameter_as_array(norm_bias), ctx.eps
        is_half, threads = weight.dtype == torch.bfloat16, torch.get_num_threads()
        gradients = residual_norm_backward(dy, forward, norm, *ctx.arguments, is_half=is_half, threads=threads)
        dproduct, dbias, dresidual, dnorm_weight, dnorm_bias = map(as_tensor, gradients)
        needs_x, _, needs_weight = ctx.needs_input_grad[:3]
        dx = input_gradient(dproduct, weight).to(ctx.dtype) if needs_x else None
        dweight = parameter_gradients(dproduct, x)[0] if needs_weight else None
        computed = dx, dresidual, dweight, dbias, dnorm_weight, dnorm_bias
        needed = (each if need else None for each, need in zip(computed, ctx.needs_input_grad, strict=False))
        return *needed, None, None, None, None


def _concatenate(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    return parts[0].detach() if len(parts) == 1 else torch.cat([each.detach() for each in parts], dim)
