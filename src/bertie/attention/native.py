"""Attention over packed tokens by bertie's CPU kernels, in one call for all texts and heads, and its gradient."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertie.attention.cache_layer import CachedKeys
from bertie.attention.request import Inputs, Request, dense_only_reasons
from bertie.dropout import draw_params
from bertie.kernels import library
from bertie.kernels.attention import attention, attention_backward, contiguous_heads
from bertie.kernels.library import DropoutStruct, InstructionSet
from bertie.zero_copy import as_array, as_tensor


class Native:
    """Texts of any lengths, none of them copied or padded."""

    name = "native"

    def why_not(self, request: Request) -> list[str]:
        reasons = dense_only_reasons(request)
        if request.compiling:
            reasons.append("it cannot be captured in a graph")
        elif request.device != "cpu":
            reasons.append(f"it runs on the CPU, not on {request.device}")
        elif why := library.why_no_kernels():
            reasons.append(why)
        if request.dtype not in (torch.float32, torch.bfloat16):
            reasons.append(f"it takes float32 and bfloat16, not {request.dtype}")
        if request.intercepted:
            reasons.append("a mode, a transform or a tensor subclass intercepts PyTorch's operators")
        if request.causal:
            reasons.append("it has no causal mask")
        if request.dropout_p >= 1:
            reasons.append("it cannot drop all weights")
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        instruction_set = library.best()
        assert instruction_set is not None
        qkv = inputs.q, inputs.k, inputs.v
        keys, cu_seqlens_q = inputs.keys, inputs.packed.cu_seqlens
        if isinstance(keys, CachedKeys):
            cu_seqlens_q = keys.cu_seqlens_of(inputs.packed)
        cu_seqlens = cu_seqlens_q, keys.cu_seqlens
        if inputs.dropout_p > 0 or inputs.gradients:
            return attention_autograd(*qkv, *cu_seqlens, instruction_set, inputs.dropout_p), None
        q, k, v = map(as_array, qkv)
        starts_q, starts_k = (each.numpy() for each in cu_seqlens)
        y = attention(q, k, v, starts_q, starts_k, instruction_set, threads=torch.get_num_threads())
        return as_tensor(y), None


def attention_autograd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    instruction_set: InstructionSet,
    dropout_p: float = 0.0,
) -> Tensor:
    """`kernels.attention` with a gradient, each weight dropped with probability ``dropout_p``."""
    dropout = draw_params(dropout_p) if dropout_p > 0 else None
    return _Attention.apply(q, k, v, cu_seqlens_q.numpy(), cu_seqlens_k.numpy(), instruction_set, dropout)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: NDArray[np.int32],
        cu_seqlens_k: NDArray[np.int32],
        instruction_set: InstructionSet,
        dropout: DropoutStruct | None,
    ) -> Tensor:
        qkv = contiguous_heads(*map(as_array, (q, k, v)))
        lse = torch.empty(q.shape[:2])
        ctx.arguments = cu_seqlens_q, cu_seqlens_k, instruction_set
        ctx.dropout = dropout
        threads = torch.get_num_threads()
        y = as_tensor(attention(*qkv, *ctx.arguments, threads=threads, dropout=dropout, lse=lse.numpy()))
        ctx.save_for_backward(*map(as_tensor, qkv), y, lse)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        arrays: Any = map(as_array, (*grads, *ctx.saved_tensors))
        threads = torch.get_num_threads()
        gradients = attention_backward(*arrays, *ctx.arguments, threads=threads, dropout=ctx.dropout)
        return *map(as_tensor, gradients), None, None, None, None
