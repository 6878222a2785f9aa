"""Where a head begins to learn: a new one at how often each label occurs, a regression's in a unit that suits it, one
that goes on with the rows of its labels, wherever these stand now.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


def begin_at(head: "nn.Linear", logits: NDArray[Any]) -> None:
    """Let a new head, which has no bias yet, begin with these logits ``[C]``; one that has learned stays as it is.

    From zero, the first steps would go into how often each label occurs, which is known (Lin et al. 2017, section 3.3).
    """
    import torch

    if not head.bias.any():
        with torch.no_grad():
            head.bias.copy_(torch.from_numpy(logits))


def with_rows(head: "nn.Linear", rows: Sequence[int | None], draw: "Callable[[nn.Module], None]") -> "nn.Linear":
    """Return a head with these rows of another, in this order; None is a new row, which ``draw`` draws."""
    import torch

    new = type(head)(head.in_features, len(rows), device=head.weight.device, dtype=head.weight.dtype)
    draw(new)
    with torch.no_grad():
        for place, row in enumerate(rows):
            if row is not None:
                new.weight[place], new.bias[place] = head.weight[row], head.bias[row]
    return new


def logits_of_classes(counts: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the logits ``[C]`` of classes that occur so often, each counting as its weight says."""
    return np.log(counts * (1.0 if weights is None else np.asarray(weights)) + 1)


def logits_of_labels(wanted: NDArray[Any], weights: Sequence[float] | None = None) -> NDArray[Any]:
    """Return the logits ``[C]`` of labels that each row has or has not, ``wanted [N, C]`` in [0, 1]."""
    have = wanted.sum(axis=0)
    return np.log((have * (1.0 if weights is None else np.asarray(weights)) + 1) / (len(wanted) - have + 1))


class Unit(NamedTuple):
    """A number ``y`` is learned as ``(y - mean) / scale``."""

    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, labels: Sequence[Any]) -> Self:
        """Return the unit in which these numbers have mean 0 and deviation 1."""
        numbers = np.asarray(labels, np.float64)
        return cls(float(numbers.mean()), float(numbers.std()) or 1.0) if numbers.size else cls()

    def entered(self, numbers: Any) -> Any:
        """Return numbers, a tensor or an array, as they are learned."""
        return (numbers - self.mean) / self.scale

    def left(self, learned: Any) -> Any:
        """Return numbers, a tensor or an array, in their own unit."""
        return learned * self.scale + self.mean

    def enter(self, head: "nn.Linear") -> None:
        """Let a head that answers in the numbers' own unit answer as they are learned; a new one stays as drawn."""
        import torch

        if head.bias.any():
            with torch.no_grad():
                head.weight.div_(self.scale)
                head.bias.sub_(self.mean).div_(self.scale)

    def leave(self, head: "nn.Linear") -> None:
        """Let a head that has learned answer in the numbers' own unit."""
        import torch

        with torch.no_grad():
            head.weight.mul_(self.scale)
            head.bias.mul_(self.scale).add_(self.mean)


OWN = Unit()
"""Numbers are learned as they are."""
