"""From examples to metrics: a task's answers compared with labels, chunk by chunk."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
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

CHUNK = 8_192  # examples read and encoded at a time
OnPredictions = Callable[[Sequence[Example], Values], None]
# The fewest examples for which the same answer to all of them is worth a warning.
FEWEST_FOR_WARNING = 20


@dataclass(frozen=True)
class Mistake:
    """A row that was answered wrongly, with the model's confidence in its answer if it has one."""

    text: str
    gold: str
    predicted: str
    score: float | None
    where: str


class Scored:
    """How well a task answers the examples passed to `add`, chunk by chunk."""

    def __init__(self, task: TrainableTask, replicates: int = 0, seed: int = 0, worst: int = 0) -> None:
        self.scores = Scores(task.metric(), replicates, seed)
        self.checksum = 0  # of where the examples were read, in order: tells whether two models saw the same rows
        self.num_truncated = 0  # inputs longer than the model reads, which lost tokens
        self.reliability: Reliability | None = None  # None where answers have no confidence
        self._task, self._max_mistakes = task, worst
        self._worst: list[tuple[float, Mistake]] = []
        self._first_answer: Any = None
        self._all_equal = True

    def add(self, outputs: Outputs, examples: Sequence[Example]) -> Values:
        """Score what was computed for these examples against their labels, and return the predictions."""
        if not examples:
            return []
        task, before = self._task, self.reliability
        self.checksum = crc32("".join(f"{example.where}\n" for example in examples).encode(), self.checksum)
        predictions = task.predictions(outputs)
        self.scores.add(predictions, task.references(outputs.labels))
        self.num_truncated += outputs.features.num_truncated
        found = task.reliability(outputs)
        self.reliability = found if before is None else before if found is None else before + found
        self._compare_answers(predictions)
        if self._max_mistakes:
            self._keep_worst(task.errors(outputs), examples)
        return predictions

    def _compare_answers(self, predictions: Values) -> None:
        if self._first_answer is None:
            self._first_answer = self._task.signature(predictions[0])
        signatures: Iterable[Any] = map(self._task.signature, predictions)
        self._all_equal = self._all_equal and all(
            one is not None and np.array_equal(self._first_answer, one) for one in signatures
        )

    def _keep_worst(self, errors: Sequence[WrongAnswer | None], examples: Sequence[Example]) -> None:
        found = [
            (error.severity, Mistake(as_text(example.text), error.expected, error.given, error.score, example.where))
            for error, example in zip(errors, examples, strict=True)
            if error is not None
        ]
        # stable: of equally bad mistakes the first are kept
        self._worst = heapq.nlargest(self._max_mistakes, [*self._worst, *found], key=lambda entry: entry[0])

    @property
    def mistakes(self) -> list[Mistake]:
        """As many mistakes as were asked for, worst first."""
        return [mistake for _, mistake in self._worst]

    @property
    def metrics(self) -> MetricValues:
        """Name → value; empty if no row was scored."""
        return self.scores.metrics() if self.scores.count else {}

    @property
    def positive(self) -> str | None:
        """The class that precision, recall and F1 refer to, if there are exactly two classes."""
        return getattr(self.scores.metric, "positive_class", None)

    @property
    def calibration_error(self) -> float | None:
        """The expected calibration error; None where answers have no confidence."""
        return None if self.reliability is None else self.reliability.error

    @property
    def meaning(self) -> str:
        """What metrics such as f1 mean here, in a sentence."""
        return self.scores.metric.meaning

    @cached_property
    def intervals(self) -> Intervals:
        """The 95 % confidence interval of each metric (bootstrap over rows)."""
        return self.scores.intervals() if self.scores.count else {}

    @property
    def table(self) -> list[dict[str, Any]]:
        """The metrics of each class; empty without classes or rows."""
        return self.scores.table() if self.scores.count else []

    def notes(self) -> list[str]:
        """Return caveats on the metrics, one sentence each."""
        warning = self.warning()
        return [*(self.scores.notes() if self.scores.count else []), *([warning] if warning else [])]

    def warning(self) -> str | None:
        """Return a warning if every input got the same answer, else None."""
        if not self._all_equal or self.scores.count < FEWEST_FOR_WARNING:
            return None
        answer = self._task.describe(self._first_answer)
        return (
            f"All {counted(self.scores.count, 'text')} got the same answer, {answer}: the model has not learned to "
            "tell them apart; train it with another learning rate, more epochs, or (for classes) class weights."
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
    on_predictions: OnPredictions | None = None,
) -> dict[str, Scored]:
    """Run examples through the model once and score them for each of ``tasks``; the model is in eval mode."""
    scored = {name: Scored(task, replicates, seed, worst) for name, task in tasks.items()}
    reading = next(iter(tasks.values()))
    source, total = iter(examples), len(examples) if isinstance(examples, Sequence) else None
    with progress("examples", total, show_progress) as advance:
        while chunk := list(islice(source, CHUNK)):
            features = reading.encode([example.text for example in chunk])
            rows = compute_rows(reading, model, features, batch_tokens=batch_tokens, advance=advance)
            outputs = reading.outputs(rows, features, [example.label for example in chunk])
            predictions = [each.add(outputs, chunk) for each in scored.values()]
            if on_predictions is not None:
                on_predictions(chunk, predictions[0])
    return scored


def as_text(text: Any) -> str:
    """Return an input of any task as one readable text."""
    if isinstance(text, str):
        return text
    if isinstance(text, Mapping):
        return " · ".join(as_text(value) for name, value in text.items() if name != "id")
    return (" · " if isinstance(text, tuple) else " ").join(as_text(part) for part in text)
