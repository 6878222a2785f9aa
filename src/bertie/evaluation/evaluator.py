"""From examples to metrics: a task's answers compared with labels, part by part."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any
from zlib import crc32

import numpy as np

from bertie.data.example import Example
from bertie.errors import counted
from bertie.metrics import Scores
from bertie.metrics.streaming import Intervals, MetricValues
from bertie.progress import progress
from bertie.tasks.calibration import Reliability
from bertie.tasks.features import Outputs, Values
from bertie.tasks.inference import compute_rows
from bertie.tasks.model import Model
from bertie.tasks.task import TrainableTask, WrongAnswer

# Examples are read and encoded this many at a time.
CHUNK = 8_192
Watch = Callable[[Sequence[Example], Values], None]
# From so many examples on, one answer for all of them is worth a warning.
MANY = 20


@dataclass(frozen=True)
class Mistake:
    """A row that was answered wrongly, and the model's confidence in its answer, if it has one."""

    text: str
    gold: str
    predicted: str
    score: float | None
    where: str


class Scored:
    """How well a task answers the examples that `add` took in, part by part."""

    def __init__(self, task: TrainableTask, replicates: int = 0, seed: int = 0, worst: int = 0) -> None:
        self.scores = Scores(task.metric(), replicates, seed)
        self.places = 0  # a checksum of where the examples stand, in order
        self.cut = 0  # how many inputs were longer than the model reads, and lost tokens
        self.reliability: Reliability | None = None  # None where answers have no confidence
        self._task, self._most = task, worst
        self._worst: list[tuple[float, Mistake]] = []
        self._first: Any = None
        self._alike = True

    def add(self, outputs: Outputs, examples: Sequence[Example]) -> Values:
        """Take in what was computed for these examples, with their labels, and return the predictions."""
        if not examples:
            return []
        task, before = self._task, self.reliability
        self.places = crc32("".join(f"{example.where}\n" for example in examples).encode(), self.places)
        predictions = task.predictions(outputs)
        self.scores.add(predictions, task.references(outputs.labels))
        self.cut += outputs.features.num_cut
        found = task.reliability(outputs)
        self.reliability = found if before is None else before if found is None else before + found
        self._first = task.signature(predictions[0]) if self._first is None else self._first
        signatures: Iterator[Any] = map(task.signature, predictions)
        self._alike = self._alike and all(one is not None and np.array_equal(self._first, one) for one in signatures)
        if self._most:
            self._note_errors(task.errors(outputs), examples)
        return predictions

    def _note_errors(self, errors: Sequence[WrongAnswer | None], examples: Sequence[Example]) -> None:
        found = [
            (error.size, Mistake(in_words(example.text), error.expected, error.given, error.score, example.where))
            for error, example in zip(errors, examples, strict=True)
            if error is not None
        ]
        # of equally bad ones the first are kept
        self._worst = heapq.nlargest(self._most, [*self._worst, *found], key=lambda entry: entry[0])

    @property
    def mistakes(self) -> list[Mistake]:
        """As many of the worst as were asked for, the worst first."""
        return [mistake for _, mistake in self._worst]

    @property
    def metrics(self) -> MetricValues:
        """Each metric by its name; none where no row was scored."""
        return self.scores.metrics() if self.scores.count else {}

    @property
    def positive(self) -> str | None:
        """Of two classes the one that precision, recall and F1 are about."""
        return getattr(self.scores.metric, "positive_class", None)

    @property
    def calibration_error(self) -> float | None:
        """How far confidence is from accuracy; None where answers have no confidence."""
        return None if self.reliability is None else self.reliability.error

    @property
    def meaning(self) -> str:
        """What names of metrics such as f1 stand for."""
        return self.scores.metric.meaning

    @cached_property
    def intervals(self) -> Intervals:
        """Of each metric: 95 % of other samples of as many rows would give one within."""
        return self.scores.intervals() if self.scores.count else {}

    @property
    def table(self) -> list[dict[str, Any]]:
        """The metrics of each class; empty without classes or rows."""
        return self.scores.table() if self.scores.count else []

    def notes(self) -> list[str]:
        """Return what should be known of the metrics."""
        one = self.warning()
        return [*(self.scores.notes() if self.scores.count else []), *([one] if one else [])]

    def warning(self) -> str | None:
        """Return a sentence if every input was given the same answer, else None."""
        if not self._alike or self.scores.count < MANY:
            return None
        only = self._task.named(self._first)
        return (
            f"All {counted(self.scores.count, 'text')} are given the same answer, {only}: the model has not "
            "learned to tell them apart; train it with another learning rate, more epochs, or (for classes) weights of "
            "the classes."
        )


def score(
    tasks: Mapping[str, TrainableTask],
    model: Model,
    examples: Iterable[Example],
    *,
    replicates: int = 0,
    seed: int = 0,
    worst: int = 0,
    batch_tokens: int | None = None,
    show_progress: bool | None = None,
    watch: Watch | None = None,
) -> dict[str, Scored]:
    """Answer examples, once for all ``tasks``, and compare with their labels; the model is in eval mode."""
    scored = {name: Scored(task, replicates, seed, worst) for name, task in tasks.items()}
    reading = next(iter(tasks.values()))
    source, total = iter(examples), len(examples) if isinstance(examples, Sequence) else None
    with progress("examples", total, show_progress) as advance:
        while chunk := list(islice(source, CHUNK)):
            features = reading.encode([example.text for example in chunk])
            rows = compute_rows(reading, model, features, batch_tokens=batch_tokens, advance=advance)
            outputs = reading.outputs(rows, features, [example.label for example in chunk])
            predictions = [each.add(outputs, chunk) for each in scored.values()]
            if watch is not None:
                watch(chunk, predictions[0])
    return scored


def in_words(text: Any) -> str:
    """Return an input of any task as one readable text."""
    if isinstance(text, str):
        return text
    if isinstance(text, Mapping):
        return " · ".join(in_words(value) for name, value in text.items() if name != "id")
    return (" · " if isinstance(text, tuple) else " ").join(in_words(part) for part in text)
