"""Attention of packed texts, each query within its own text, in one call for all texts and heads."""

import torch
from torch import Tensor

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
    """
    _, heads, width = q.shape
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
