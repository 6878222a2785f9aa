"""Where a head begins to learn: a new one at how often each label occurs, a regression's on standardized numbers, one
that goes on with the rows of its labels, wherever these stand now.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


def init_bias(head: "nn.Linear", logits: NDArray[Any]) -> None:
    """Let a new head, which has no bias yet, begin with these logits ``[C]``; one that has learned stays as it is.

    From zero, the first steps would go into how often each label occurs, which is known (Lin et al. 2017, section 3.3).
    """
    if not head.bias.any():
        head.bias.detach().copy_(head.bias.new_tensor(logits))


def with_rows(head: "nn.Linear", rows: Sequence[int | None], draw: "Callable[[nn.Module], None]") -> "nn.Linear":
    """Return a head with these rows of another, in this order; None is a new row, which ``draw`` draws."""
    new = type(head)(head.in_features, len(rows), device=head.weight.device, dtype=head.weight.dtype)
    draw(new)
    for place, row in enumerate(rows):
        if row is not None:
            new.weight.detach()[place], new.bias.detach()[place] = head.weight[row].detach(), head.bias[row].detach()
    return new


def log_priors(counts: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the logits ``[C]`` of classes that occur so often, each counting as its weight says."""
    return np.log(counts * (1.0 if weights is None else np.asarray(weights)) + 1)


def log_odds(wanted: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the logits ``[C]`` of labels that each row has or has not, ``wanted [N, C]`` in [0, 1]."""
    have = wanted.sum(axis=0)
    return np.log((have * (1.0 if weights is None else np.asarray(weights)) + 1) / (len(wanted) - have + 1))


class Standardization(NamedTuple):
    """A number ``y`` is learned as ``(y - mean) / scale``."""

    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, labels: Sequence[Any]) -> Self:
        """Return the one after which these numbers have mean 0 and deviation 1."""
        numbers = np.asarray(labels, np.float64)
        return cls(float(numbers.mean()), float(numbers.std()) or 1.0) if numbers.size else cls()

    def apply(self, numbers: Any) -> Any:
        """Return numbers, a tensor or an array, as they are learned."""
        return (numbers - self.mean) / self.scale

    def invert(self, learned: Any) -> Any:
        """Return numbers, a tensor or an array, as they were."""
        return learned * self.scale + self.mean

    def apply_to_head(self, head: "nn.Linear") -> None:
        """Let a head that gives numbers as they are give them standardized; a new one stays as drawn."""
        if head.bias.any():
            head.weight.detach().div_(self.scale)
            head.bias.detach().sub_(self.mean).div_(self.scale)

    def invert_in_head(self, head: "nn.Linear") -> None:
        """Let a head that has learned standardized numbers give them as they are."""
        head.weight.detach().mul_(self.scale)
        head.bias.detach().mul_(self.scale).add_(self.mean)


IDENTITY = Standardization()
