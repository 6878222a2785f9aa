"""Attention of packed texts, each query within its own text, in one call for all texts and heads; and its gradient."""

from collections.abc import Sequence
from ctypes import byref, pointer
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bertie.errors import InputError
from bertie.native.dropout import Dropped
from bertie.native.layout import AttentionLayout, GradientLayout
from bertie.native.library import InstructionSet


class Texts(NamedTuple):
    """Where texts lie among tokens: ``starts`` int32 ``[B + 1]``, and the most tokens of one."""

    starts: Tensor
    longest: int


def attention(q: Tensor, k: Tensor, v: Tensor, queries: Texts, keys: Texts, functions: InstructionSet) -> Tensor:
    """Return the context ``[T_q, H, K]`` in float32 of ``q [T_q, H, K]`` over ``k`` and ``v`` ``[T_k, H, K]``.

    Args:
        q, k, v: float32 on the CPU; a token's heads lie side by side, tokens at any distance.
        queries, keys: the texts.
        functions: of an instruction set.

    Raises:
        InputError: the texts are not the queries or keys exactly, or the tensors are of other kinds or shapes.
    """
    return _forward(_side_by_side(q, k, v), queries, keys, functions, None, None)


def attention_to_train(
    q: Tensor, k: Tensor, v: Tensor, queries: Texts, keys: Texts, functions: InstructionSet, dropout_p: float = 0.0
) -> Tensor:
    """Return what `attention` does, with a gradient, each weight dropped with probability ``dropout_p`` (< 1).

    What is dropped is drawn from PyTorch's global generator, by one number a call.
    """
    dropped = Dropped.drawn(dropout_p) if dropout_p > 0 else None
    context: Tensor = _Attention.apply(q, k, v, queries, keys, functions, dropped)
    return context


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        queries: Texts,
        keys: Texts,
        functions: InstructionSet,
        dropped: Dropped | None,
    ) -> Tensor:
        q, k, v = _side_by_side(q, k, v)
        log_sums = q.new_empty(q.shape[:2])
        context = _forward((q, k, v), queries, keys, functions, log_sums, dropped)
        ctx.save_for_backward(q, k, v, context, log_sums)
        ctx.told = queries, keys, functions, dropped
        return context

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, context, log_sums = ctx.saved_tensors
        queries, keys, functions, dropped = ctx.told
        slope = grads[0].contiguous()
        gradients = [each.new_empty(each.shape) for each in (q, k, v)]
        threads = torch.get_num_threads()
        each = functions.attention_gradient_scratch(queries.longest, keys.longest, q.shape[2])
        scratch = q.new_empty(threads * each)
        laid_out = GradientLayout(
            _laid_out((q, k, v), context, queries, keys, log_sums, dropped), slope.data_ptr(), *map(_place, gradients)
        )
        if functions.attention_gradient(byref(laid_out), scratch.data_ptr(), each, threads):
            raise wrong_texts(len(q), queries.longest)
        return *gradients, None, None, None, None


def _forward(
    parts: tuple[Tensor, ...],
    queries: Texts,
    keys: Texts,
    functions: InstructionSet,
    log_sums: Tensor | None,
    dropped: Dropped | None,
) -> Tensor:
    q, k, v = parts
    check_floats(q.shape[2:], *parts)
    if k.shape != v.shape or q.shape[1] != k.shape[1]:
        raise InputError(f"Queries {[*q.shape]}, keys {[*k.shape]} and values {[*v.shape]} do not fit each other.")
    check_starts(queries.starts)
    check_starts(keys.starts)
    if len(queries.starts) != len(keys.starts):
        raise InputError(f"There are queries of {len(queries.starts) - 1} texts and keys of {len(keys.starts) - 1}.")
    threads = torch.get_num_threads()
    each = functions.attention_scratch(keys.longest, q.shape[2])
    scratch, context = q.new_empty(threads * each), q.new_empty(q.shape)
    laid_out = _laid_out(parts, context, queries, keys, log_sums, dropped)
    if functions.attention(byref(laid_out), scratch.data_ptr(), each, threads):
        raise wrong_texts(len(q), queries.longest)
    return context


def _laid_out(
    parts: tuple[Tensor, ...],
    context: Tensor,
    queries: Texts,
    keys: Texts,
    log_sums: Tensor | None,
    dropped: Dropped | None,
) -> AttentionLayout:
    return AttentionLayout(
        *map(_place, parts),
        _place(context),
        _place(queries.starts),
        _place(keys.starts),
        *(part.stride(0) for part in parts),
        *map(len, parts[:2]),
        len(queries.starts) - 1,
        *context.shape[1:],
        None if log_sums is None else _place(log_sums),
        None if dropped is None else pointer(dropped.laid_out),
    )


def _place(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _side_by_side(*parts: Tensor) -> tuple[Tensor, ...]:
    width = parts[0].shape[2]
    return tuple(part if part.stride()[1:] == (width, 1) else part.contiguous() for part in parts)


def check_starts(starts: Tensor) -> None:
    """Refuse what is no list of 32-bit numbers; C looks at the numbers themselves.

    Raises:
        InputError: it is something else.
    """
    if starts.dtype != torch.int32 or starts.dim() != 1 or not len(starts) or not starts.is_contiguous():
        raise InputError(f"The starts of texts are {starts.dtype} {[*starts.shape]}; they must be int32 [B + 1].")


def check_floats(shape: Sequence[int], *tensors: Tensor) -> None:
    """Refuse tensors that are not float32 on the CPU, or have other last dimensions than ``shape``: C would not notice.

    Raises:
        InputError: naming dtype, device and shape.
    """
    for tensor in tensors:
        if tensor.dtype != torch.float32 or not tensor.is_cpu or tensor.shape[-len(shape) :] != torch.Size(shape):
            raise InputError(
                f"A kernel was given {tensor.dtype} {[*tensor.shape]} on {tensor.device}; it takes float32 on the CPU "
                f"with {[*shape]} as last dimensions."
            )


def wrong_texts(tokens: int, longest: int) -> InputError:
    """Return what is raised where C found starts that do not rise from 0 to the tokens."""
    return InputError(
        f"The texts must lie one after the other in {tokens} tokens, from 0 on, none longer than {longest}; "
        "their starts (cu_seqlens) say something else."
    )
