"""What the loop trains: anything with a model whose loss is a sum over numbered examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from bertie.training.sampler import LookedUpSizes


class Learner(Protocol):
    """A model and N examples, known to the loop by number only."""

    model: nn.Module  # its parameters with ``requires_grad`` learn; the loop sets train and eval mode

    @property
    def sizes(self) -> Sequence[int] | LookedUpSizes:
        """The tokens of each example, ``[N]``; batches are counted and sorted by them."""

    def divisor(self, examples: Sequence[int]) -> float | Mapping[str, float]:
        """Return the number of labelled items of a whole step, by which its loss is divided; the host knows it.

        A loss of K sums has K of them by name; the loss of the step is the sum of the K means, and log lines have each.
        """

    def loss(self, examples: Sequence[int]) -> Tensor:
        """Return the sum ``[]`` of the losses of these examples, or K sums ``[K]``, with gradient.

        It is called for parts of a step, longest examples first; PyTorch's global generator is seeded for every step.
        """

    def describe(self, examples: Sequence[int]) -> str:
        """Return words that lead a user to these examples: ``train.csv, lines 3, 17``."""


def first_of(examples: Sequence[int], name: Callable[[int], str], most: int = 3) -> str:
    """Return the names of the first examples, and how many more there are."""
    more = f"; and {len(examples) - most} more" if len(examples) > most else ""
    return "; ".join(map(name, examples[:most])) + more


class Phase(NamedTuple):
    """A part of a run with examples of its own, such as longer texts; the learners of all phases have one model."""

    learner: Learner
    share: float  # of the run's steps
