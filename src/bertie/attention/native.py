"""Attention over packed tokens by bertie's own kernels on a CPU: one call for all texts and heads, and its gradient."""

import torch
from torch import Tensor

from bertie.attention.request import Inputs, Request, needs_a_matrix
from bertie.native import library
from bertie.native.attention import Texts, attention, attention_to_train


class Native:
    """Texts of any lengths are attended to one after the other, none is copied or padded."""

    name = "native"

    def why_not(self, request: Request) -> list[str]:
        reasons = needs_a_matrix(request)
        if request.compiling:
            reasons.append("it cannot be captured in a graph")
        elif request.device != "cpu":
            reasons.append(f"it runs on the CPU, not on {request.device}")
        elif why := library.why_none():
            reasons.append(why)
        if request.dtype != torch.float32:
            reasons.append(f"it takes float32, not {request.dtype}")
        if request.observed:
            reasons.append("a mode, a transform or a subclass of tensors wants to see PyTorch's operators")
        if request.causal:
            reasons.append("it reads texts in both directions")
        if request.dropout_p >= 1:
            reasons.append("nothing is left to divide by where all weights are dropped")
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        functions = library.best()
        assert functions is not None
        q, k, v = inputs.q, inputs.k, inputs.v
        queries, keys = (
            Texts(packed.cu_seqlens, max(packed.lengths, default=0)) for packed in (inputs.packed, inputs.keys)
        )
        if inputs.dropout_p > 0 or inputs.gradients:
            return attention_to_train(q, k, v, queries, keys, functions, inputs.dropout_p), None
        return attention(q, k, v, queries, keys, functions), None
