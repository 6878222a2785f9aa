"""What the loop trains: a model with a loss that is a sum over numbered examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from bertie.training.sampler import LookedUpSizes


class Learner(Protocol):
    """A model and N examples, known to the loop by number only."""

    model: nn.Module  # parameters with ``requires_grad`` are trained; the loop sets train and eval mode

    @property
    def sizes(self) -> Sequence[int] | LookedUpSizes:
        """The tokens of each example, ``[N]``; batches are counted and sorted by them."""

    def divisor(self, examples: Sequence[int]) -> float | Mapping[str, float]:
        """Return the number of labelled items in a whole step, by which its loss is divided.

        A loss of K sums has K numbers by name; the loss of the step is the sum of the K means, and each is logged.
        """

    def loss(self, examples: Sequence[int]) -> Tensor:
        """Return the sum ``[]`` of the losses of these examples, or K sums ``[K]``, with gradient.

        Called for parts of a step, longest examples first; PyTorch's global generator is seeded for every step.
        """

    def describe(self, examples: Sequence[int]) -> str:
        """Return where a user finds these examples: ``train.csv, lines 3, 17``."""


def first_of(examples: Sequence[int], name: Callable[[int], str], limit: int = 3) -> str:
    """Return the names of the first examples, and how many more there are."""
    more = f"; and {len(examples) - limit} more" if len(examples) > limit else ""
    return "; ".join(map(name, examples[:limit])) + more


class Phase(NamedTuple):
    """A part of a run with its own examples, such as longer texts; the learners of all phases share one model."""

    learner: Learner
    share: float  # of the run's steps
