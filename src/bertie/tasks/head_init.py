"""How heads are initialized for training: biases from label frequencies, regression heads rescaled to standardized
labels, and rows reordered when the labels of a trained head change.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


def init_bias(head: "nn.Linear", logits: NDArray[Any]) -> None:
    """Set the bias of a new head to these logits ``[C]``; a trained head, whose bias is not zero, stays as it is.

    From zero, the first steps would only learn the label frequencies, which are known (Lin et al. 2017, section 3.3).
    """
    if not head.bias.any():
        head.bias.detach().copy_(head.bias.new_tensor(logits))


def with_rows(head: "nn.Linear", rows: Sequence[int | None], draw: "Callable[[nn.Module], None]") -> "nn.Linear":
    """Return a head with these rows of another, in this order; for None it has a new row, initialized by ``draw``."""
    new = type(head)(head.in_features, len(rows), device=head.weight.device, dtype=head.weight.dtype)
    draw(new)
    for place, row in enumerate(rows):
        if row is not None:
            new.weight.detach()[place], new.bias.detach()[place] = head.weight[row].detach(), head.bias[row].detach()
    return new


def log_priors(counts: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the logits ``[C]`` of classes from their counts, multiplied by their weights."""
    return np.log(counts * (1.0 if weights is None else np.asarray(weights)) + 1)


def log_odds(targets: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the logits ``[C]`` of independent labels from the rows' ``targets [N, C]`` in [0, 1]."""
    counts = targets.sum(axis=0)
    return np.log((counts * (1.0 if weights is None else np.asarray(weights)) + 1) / (len(targets) - counts + 1))


class Standardization(NamedTuple):
    """A number ``y`` is learned as ``(y - mean) / scale``."""

    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, labels: Sequence[Any]) -> Self:
        """Return the one that gives these numbers mean 0 and standard deviation 1."""
        numbers = np.asarray(labels, np.float64)
        return cls(float(numbers.mean()), float(numbers.std()) or 1.0) if numbers.size else cls()

    def apply(self, numbers: Any) -> Any:
        """Return numbers, a tensor or an array, standardized."""
        return (numbers - self.mean) / self.scale

    def invert(self, learned: Any) -> Any:
        """Return standardized numbers, a tensor or an array, in their own unit."""
        return learned * self.scale + self.mean

    def apply_to_head(self, head: "nn.Linear") -> None:
        """Rescale a trained head so that it gives standardized numbers; a new one stays as initialized."""
        if head.bias.any():
            head.weight.detach().div_(self.scale)
            head.bias.detach().sub_(self.mean).div_(self.scale)

    def invert_in_head(self, head: "nn.Linear") -> None:
        """Rescale a head trained on standardized numbers so that it gives them in their own unit."""
        head.weight.detach().mul_(self.scale)
        head.bias.detach().mul_(self.scale).add_(self.mean)


IDENTITY = Standardization()
