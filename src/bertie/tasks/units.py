"""The unit of a regression: numbers are learned at mean 0 and deviation 1, by a head that then answers in their own."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn


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

    @torch.no_grad()
    def enter(self, head: nn.Linear) -> None:
        """Let a head that answers in the numbers' own unit answer as they are learned.

        A new head, which has no bias yet, stays as it was drawn.
        """
        if head.bias.any():
            head.weight.div_(self.scale)
            head.bias.sub_(self.mean).div_(self.scale)

    @torch.no_grad()
    def leave(self, head: nn.Linear) -> None:
        """Let a head that has learned answer in the numbers' own unit."""
        head.weight.mul_(self.scale)
        head.bias.mul_(self.scale).add_(self.mean)


OWN = Unit()
"""Numbers are learned as they are."""
