"""The learner of fine-tuning: a task, its model, and labelled examples as features."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from bertie.data.example import Example
from bertie.models.task_model import TaskModel
from bertie.progress import progress
from bertie.tasks.features import Features
from bertie.tasks.task import TrainableTask
from bertie.training.learner import first_of

# Examples are encoded this many at a time, so that their texts and encodings are freed before the next are read.
CHUNK = 8_192


class TaskLearner:
    """A `bertie.training.Learner` of labelled features; ``locations`` of the examples are for messages."""

    def __init__(self, task: TrainableTask, model: nn.Module, features: Features, locations: Sequence[str]) -> None:
        self.task, self.model, self.features, self.locations = task, model, features, locations
        self.sizes: Sequence[int] = features.input_lengths()

    def divisor(self, examples: Sequence[int]) -> float | Mapping[str, float]:
        return self.task.divisor(self.features.select_inputs(examples))

    def loss(self, examples: Sequence[int]) -> Tensor:
        seed = int(torch.randint(2**62, ()))
        part = self.task.apply_masking(self.features.select_inputs(examples), np.random.default_rng(seed))
        return self.task.loss(self.task.run(TaskModel(self.model), part), part)

    def describe(self, examples: Sequence[int]) -> str:
        """Return the locations of the first of these examples."""
        return first_of(examples, self.locations.__getitem__)


def encode_examples(task: TrainableTask, examples: Iterable[Example], show_progress: bool | None = None) -> Features:
    """Return the features of labelled examples, including their labels."""
    parts, source = [], iter(examples)
    with progress("examples encoded", None, show_progress) as advance:
        while chunk := list(islice(source, CHUNK)):
            features = task.encode([example.text for example in chunk])
            parts.append(task.add_labels(features, [example.label for example in chunk]).without_texts())
            advance(len(chunk))
    return Features.concatenate(parts)
