"""Attention over packed tokens in one variable-length flash kernel: CUDA, half precision."""

import importlib.util
from functools import lru_cache

import torch
from torch import Tensor

from bertie.attention.request import Inputs, Request, dense_only_reasons

_AVAILABLE = importlib.util.find_spec("torch.nn.attention.varlen") is not None
# The kernel takes the maximal length as a Python number: rounded up, so that a captured graph fits many batches.
_ROUND = 64


class Varlen:
    """``torch.nn.attention.varlen.varlen_attn`` over ``cu_seqlens``; with dropout, the operator underneath it."""

    name = "varlen"

    def why_not(self, request: Request) -> list[str]:
        reasons = dense_only_reasons(request)
        if request.foreign_keys:
            reasons.append("keys come from another batch")
        if not _AVAILABLE:
            reasons.append(f"PyTorch {torch.__version__} has no torch.nn.attention.varlen")
        if request.device != "cuda":
            reasons.append(f"it needs a CUDA device, not {request.device}")
        if request.dtype not in (torch.float16, torch.bfloat16):
            reasons.append(f"it needs float16 or bfloat16, not {request.dtype}")
        if request.head_width % 8 or request.head_width > 256:
            reasons.append(f"it needs a head width that is a multiple of 8 up to 256, not {request.head_width}")
        if request.dropout_p > 0:
            reasons += _why_no_dropout(request)
        return reasons

    def attend(self, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
        packed = inputs.packed
        longest = -(-packed.shape[1] // _ROUND) * _ROUND
        qkv = (inputs.q, inputs.k, inputs.v)
        if inputs.dropout_p > 0:
            return flash_with_dropout(*qkv, packed.cu_seqlens, longest, inputs.causal, inputs.dropout_p), None
        from torch.nn.attention.varlen import varlen_attn

        ends, window = packed.cu_seqlens, (-1, 0) if inputs.causal else (-1, -1)
        context = varlen_attn(*qkv, ends, ends, longest, longest, window_size=window)
        assert isinstance(context, Tensor)
        return context, None


def flash_with_dropout(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, longest: int, causal: bool, dropout_p: float
) -> Tensor:
    """Return the context ``[T, H, K]`` of a flash kernel that drops weights; check `dropout_works` first."""
    found = torch.ops.aten._flash_attention_forward(
        q, k, v, cu_seqlens, cu_seqlens, longest, longest, dropout_p, causal, False
    )
    return found[0]


def _why_no_dropout(request: Request) -> list[str]:
    if request.compiling:
        return ["its dropout is a private operator, which graphs do not capture"]
    if request.device == "cuda" and not dropout_works():
        return [f"PyTorch {torch.__version__} has no working variable-length kernel with dropout here"]
    return []


@lru_cache(maxsize=1)
def dropout_works() -> bool:
    """Whether the kernel with dropout exists, drops the right share, and its gradient uses the same mask."""
    if not torch.cuda.is_available():
        return False
    try:
        # the check must not advance the user's random state
        own_state = torch.random.fork_rng(devices=[torch.cuda.current_device()])
        with own_state, torch.inference_mode(False), torch.enable_grad(), torch.autocast("cuda", enabled=False):
            return _dropout_is_correct()
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False


def _dropout_is_correct() -> bool:
    """Try it on equal scores: each context is then the scaled share of kept weights."""
    lengths, width, dropout_p = (128, 64), 64, 0.25
    total = sum(lengths)
    cu_seqlens = torch.tensor([0, lengths[0], total], dtype=torch.int32, device="cuda")
    q = torch.zeros(total, 2, width, dtype=torch.bfloat16, device="cuda")
    v = torch.ones_like(q, requires_grad=True)
    context = flash_with_dropout(q, q, v, cu_seqlens, lengths[0], False, dropout_p)
    (gradient,) = torch.autograd.grad(context.float().sum(), v)
    kept = context.float()[:, :, 0]
    # with 192 rows of 64 or more weights and two heads, the mean deviates from 1 by less than 0.01; rows differ
    mean, gradient_mean = kept.mean().item(), gradient.float().mean().item()
    return abs(mean - 1) < 0.05 and abs(gradient_mean - mean) < 0.02 and kept.std().item() > 0.02
