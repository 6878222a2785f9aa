"""Attention over packed tokens in one flash kernel that knows where texts begin: CUDA, half precision."""

import importlib.util

import torch
from torch import Tensor

from bertie.attention.request import Inputs, Request, needs_a_matrix

_AVAILABLE = importlib.util.find_spec("torch.nn.attention.varlen") is not None
# The kernel takes the longest length as a plain number: rounded, so that a captured graph serves many batches.
_ROUND = 64


class Varlen:
    """``torch.nn.attention.varlen.varlen_attn`` over ``cu_seqlens``."""

    name = "varlen"

    def why_not(self, request: Request) -> list[str]:
        reasons = needs_a_matrix(request)
        if not _AVAILABLE:
            reasons.append(f"PyTorch {torch.__version__} has no torch.nn.attention.varlen")
        if request.device != "cuda":
            reasons.append(f"it needs a CUDA device, not {request.device}")
        if request.dtype not in (torch.float16, torch.bfloat16):
            reasons.append(f"it needs float16 or bfloat16, not {request.dtype}")
        if request.dropout_p > 0:
            reasons.append("it has no dropout")
        if request.head_width % 8 or request.head_width > 256:
            reasons.append(f"it needs a head width that is a multiple of 8 up to 256, not {request.head_width}")
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        from torch.nn.attention.varlen import varlen_attn

        cu_seqlens = inputs.packed.cu_seqlens
        longest = -(-inputs.packed.shape[1] // _ROUND) * _ROUND
        window = (-1, 0) if inputs.causal else (-1, -1)
        context = varlen_attn(
            inputs.q, inputs.k, inputs.v, cu_seqlens, cu_seqlens, longest, longest, window_size=window
        )
        assert isinstance(context, Tensor)
        return context, None
