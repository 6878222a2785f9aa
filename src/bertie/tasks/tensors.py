"""The operations of tasks on PyTorch tensors, with gradients where PyTorch keeps them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.tasks.arrays import Array, Integers
from bertie.tasks.operations import Operations


def on_device_of(values: Tensor, numbers: Array) -> Tensor:
    """Return numbers of the host as a tensor beside ``values``, without waiting for what its device still has to do."""
    moved = torch.from_numpy(numbers)
    return moved.pin_memory().to(values.device, non_blocking=True) if values.is_cuda else moved.to(values.device)


class TensorOperations(Operations):
    """As `Operations`, on tensors."""

    def to_host(self, values: Tensor) -> Array:
        return values.detach().float().cpu().numpy()

    def widened(self, values: Tensor) -> Tensor:
        return values if values.dtype == torch.float64 else values.float()

    def take(self, values: Tensor, places: Integers) -> Tensor:
        return values.index_select(0, on_device_of(values, places))

    def scale(self, values: Tensor, factors: Array) -> Tensor:
        return values * on_device_of(values, factors).to(values.dtype)[:, None]

    def side_by_side(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), dim=1)

    def run_sum(self, values: Tensor, lengths: Integers) -> Tensor:
        return _reduced(values, lengths, "sum", 0.0)

    def run_mean(self, values: Tensor, lengths: Integers) -> Tensor:
        return _reduced(values, lengths, "mean", 0.0)

    def run_max(self, values: Tensor, lengths: Integers) -> Tensor:
        highest = _reduced(values, lengths, "max", None)
        return highest if lengths.all() else highest.masked_fill(on_device_of(values, lengths == 0)[:, None], 0.0)

    def normalize(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1)

    def best(self, logits: Tensor, count: int, columns: Sequence[int] | None = None) -> tuple[Array, Integers]:
        scores = logits.float().softmax(dim=-1)
        if columns is not None:
            scores = scores[:, list(columns)]
        found, places = scores.topk(count, dim=-1)
        return found.cpu().numpy(), places.cpu().numpy()

    def guessed(self, logits: Tensor, wanted: Integers) -> Array:
        right = on_device_of(logits, wanted)
        losses = F.cross_entropy(logits.float(), right, reduction="none")
        return torch.stack([(logits.argmax(dim=1) == right).float(), losses], dim=1).double().cpu().numpy()

    def total(self, values: Tensor) -> Tensor:
        return values.sum()

    def finite_rows(self, values: Tensor) -> Array:
        return values.isfinite().flatten(1).all(dim=1).cpu().numpy()


ON_TENSORS = TensorOperations()


def _reduced(values: Tensor, lengths: Integers, way: str, empty: Any) -> Tensor:
    # runs lie beside each other: unlike index_add, each sum has one order, on a GPU too
    # unsafe: without a look at the lengths, for which the host would wait
    return torch.segment_reduce(values, way, lengths=on_device_of(values, lengths), initial=empty, unsafe=True)
