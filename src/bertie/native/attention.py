"""Attention of packed texts, each query within its own text, in one call for all texts and heads."""

import torch
from torch import Tensor

from bertie.errors import InputError
from bertie.native.library import InstructionSet


def attention(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor, starts_k: Tensor, longest: int, functions: InstructionSet
) -> Tensor:
    """Return the context ``[T_q, H, K]`` in float32 of ``q [T_q, H, K]`` over ``k`` and ``v`` ``[T_k, H, K]``.

    Args:
        q, k, v: float32 on the CPU; a token's heads lie side by side, tokens at any distance.
        starts_q, starts_k: int32 ``[B + 1]``: where each text's queries and keys begin, and where the last ends.
        longest: the most keys of a text.
        functions: of an instruction set.

    Raises:
        InputError: the texts are not the queries or keys exactly.
    """
    _, heads, width = q.shape
    check_starts(starts_q, q)
    check_starts(starts_k, k)
    q, k, v = (part if part.stride()[1:] == (width, 1) else part.contiguous() for part in (q, k, v))
    threads = torch.get_num_threads()
    each = functions.attention_scratch(longest, width)
    scratch, context = q.new_empty(threads * each), q.new_empty(q.shape)
    functions.attention(
        q.data_ptr(),
        k.data_ptr(),
        v.data_ptr(),
        context.data_ptr(),
        starts_q.data_ptr(),
        starts_k.data_ptr(),
        scratch.data_ptr(),
        q.stride(0),
        k.stride(0),
        v.stride(0),
        len(starts_q) - 1,
        heads,
        width,
        each,
        threads,
    )
    return context


def check_starts(starts: Tensor, tokens: Tensor) -> None:
    """Refuse texts that are not ``tokens [T, ...]`` exactly: C would read beyond them.

    Raises:
        InputError: naming both numbers.
    """
    if starts.dtype != torch.int32 or not starts.is_contiguous() or int(starts[-1]) != len(tokens):
        raise InputError(f"The texts have {int(starts[-1])} tokens in all, but {len(tokens)} are given.")
