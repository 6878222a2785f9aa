"""What a task that can be learned adds: labels beside features, a loss that sums, and how answers are scored."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from bertie.tasks.features import Features, Values
from bertie.tasks.metrics.scores import Metric
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class TrainableTask(Task):
    """A task with labels. Losses are sums, so that batches, accumulation and processes can be put together at will."""

    @abstractmethod
    def labelled(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with what is to be learned of each input."""

    def drawn(self, features: Features, random: np.random.Generator) -> Features:
        """Return the features of a training batch as this step sees them; tasks that mask words draw them here."""
        del random
        return features

    @abstractmethod
    def divisor(self, features: Features) -> float:
        """Return how many labelled items `loss` sums over; known on the host."""

    @abstractmethod
    def loss(self, output: Tensor, features: Features) -> Tensor:
        """Return the sum of the losses of a batch of whole inputs, from what `run` computed for its rows."""

    @abstractmethod
    def metric(self) -> Metric:
        """Return what scores the predictions of this task."""

    @abstractmethod
    def predictions(self, values: Values, features: Features) -> Values:
        """Return, from what `combine` gave, what `metric` compares with the labels, one an input."""
