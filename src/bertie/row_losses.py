"""The cross-entropy of each row of logits; with many classes, a CPU computes no matrix of probabilities."""

from bertie.extras import need_torch

need_torch(__name__)

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.capture import is_intercepted
from bertie.config import IGNORED
from bertie.kernels import library
from bertie.kernels.cross_entropy import cross_entropy, cross_entropy_backward
from bertie.kernels.library import InstructionSet
from bertie.zero_copy import as_array, as_tensor

# As in a vocabulary; for fewer classes the time of PyTorch's operators does not matter.
MIN_CLASSES = 1024


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy ``[M]`` of ``logits [M, C]`` and ``labels [M]``, 0 where a label is -100.

    It is float32 under autocast, as from PyTorch's operator, and otherwise has the dtype of the logits.
    """
    instruction_set = library.best() if _is_supported(logits, labels) else None
    if instruction_set is None:
        return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    return _CrossEntropy.apply(logits, labels, instruction_set)


def _is_supported(logits: Tensor, labels: Tensor) -> bool:
    is_half = logits.dtype == torch.bfloat16 and torch.is_autocast_enabled("cpu")
    return (
        not is_intercepted()
        and type(logits) is Tensor
        and logits.is_cpu
        and logits.dim() == 2
        and logits.shape[1] >= MIN_CLASSES
        and (logits.dtype == torch.float32 or is_half)
        and labels.dtype == torch.int64
        and labels.is_cpu
        and not logits.is_neg()
    )


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, instruction_set: InstructionSet) -> Tensor:
        logits, labels, ctx.instruction_set = logits.contiguous(), labels.contiguous(), instruction_set
        threads = torch.get_num_threads()
        found = cross_entropy(as_array(logits), labels.numpy(), instruction_set, threads=threads)
        losses, lse = map(as_tensor, found)
        ctx.save_for_backward(logits, labels, lse)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, labels, lse = ctx.saved_tensors
        dlosses, x, log_sums = map(as_array, (grads[0], logits, lse))
        threads = torch.get_num_threads()
        dlogits = cross_entropy_backward(dlosses, x, labels.numpy(), log_sums, ctx.instruction_set, threads=threads)
        return as_tensor(dlogits), None, None
