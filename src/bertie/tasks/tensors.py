"""The operations of tasks on PyTorch tensors, differentiable where tasks need gradients."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.tasks.arrays import Array, Integers
from bertie.tasks.operations import Operations


def on_device_of(values: Tensor, numbers: Array) -> Tensor:
    """Return numbers of the host as a tensor on the device of ``values``, without synchronizing with it."""
    moved = torch.from_numpy(numbers)
    return moved.pin_memory().to(values.device, non_blocking=True) if values.is_cuda else moved.to(values.device)


class TensorOperations(Operations):
    """As `Operations`, on tensors."""

    def to_host(self, values: Tensor) -> Array:
        return values.detach().float().cpu().numpy()

    def to_float32(self, values: Tensor) -> Tensor:
        return values if values.dtype == torch.float64 else values.float()

    def take(self, values: Tensor, places: Integers) -> Tensor:
        return values.index_select(0, on_device_of(values, places))

    def scale(self, values: Tensor, factors: Array) -> Tensor:
        return values * on_device_of(values, factors).to(values.dtype)[:, None]

    def concatenate(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), dim=1)

    def segment_sum(self, values: Tensor, lengths: Integers) -> Tensor:
        return _segment_reduce(values, lengths, "sum", 0.0)

    def segment_mean(self, values: Tensor, lengths: Integers) -> Tensor:
        return _segment_reduce(values, lengths, "mean", 0.0)

    def segment_max(self, values: Tensor, lengths: Integers) -> Tensor:
        highest = _segment_reduce(values, lengths, "max", None)
        return highest if lengths.all() else highest.masked_fill(on_device_of(values, lengths == 0)[:, None], 0.0)

    def normalize(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1)

    def top_k(self, logits: Tensor, count: int, columns: Sequence[int] | None = None) -> tuple[Array, Integers]:
        scores = logits.float().softmax(dim=-1)
        if columns is not None:
            scores = scores[:, list(columns)]
        found, places = scores.topk(count, dim=-1)
        return found.cpu().numpy(), places.cpu().numpy()

    def correct_and_loss(self, logits: Tensor, targets: Integers) -> Array:
        gold = on_device_of(logits, targets)
        losses = F.cross_entropy(logits.float(), gold, reduction="none")
        return torch.stack([(logits.argmax(dim=1) == gold).float(), losses], dim=1).double().cpu().numpy()

    def total(self, values: Tensor) -> Tensor:
        return values.sum()

    def finite_rows(self, values: Tensor) -> Array:
        return values.isfinite().flatten(1).all(dim=1).cpu().numpy()


ON_TENSORS = TensorOperations()


def _segment_reduce(values: Tensor, lengths: Integers, reduction: str, empty: Any) -> Tensor:
    # unlike index_add it sums in a fixed order, on a GPU too
    # unsafe: skips a check of the lengths, for which the host would have to wait
    return torch.segment_reduce(values, reduction, lengths=on_device_of(values, lengths), initial=empty, unsafe=True)
