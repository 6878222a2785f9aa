"""Prometheus metrics under the names of text-embeddings-inference, and bertie's own beside them.

What a process counts is a row of numbers. Several processes have their rows in memory that they share: each tells the
sums, and the row of one that ended is continued by the one in its place.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np

from bertie.serving.refusals import KINDS
from bertie.serving.scheduler import Step
from bertie.serving.service import Answers

SECONDS = tuple(1e-5 * 1.5**power for power in range(1, 36))
COUNTS = tuple(float(2**power) for power in range(20))
# what a task is called in the names of metrics
_GROUPS = {"embed": "embed", "text-classification": "predict", "reranking": "predict"}
_DURATIONS = {
    group: [f"te_{group}{part}_duration" for part in ("", "_tokenization", "_queue", "_inference")]
    for group in ("request", "embed", "predict")
}


@dataclass(frozen=True)
class _Numbers:
    """One number, or one for each label; of a label that never occurred nothing is said."""

    name: str
    text: str
    kind: str
    labels: Sequence[str] = ("",)

    @property
    def places(self) -> Sequence[str]:
        """What each number is called."""
        return [self.name + label for label in self.labels]

    def lines(self, values: Sequence[float]) -> Iterator[str]:
        for place, value in zip(self.places, values, strict=True):
            if value or place == self.name:
                yield f"{place} {value}"


@dataclass(frozen=True)
class _Histogram:
    """How many values lie up to each bound and above the one before, how many above all, and the sum of all."""

    name: str
    text: str
    bounds: Sequence[float]
    kind: str = "histogram"

    @property
    def places(self) -> Sequence[str]:
        return [self.name, *(f"{self.name} {bound}" for bound in self.bounds), f"{self.name}_sum"]

    def lines(self, values: Sequence[float]) -> Iterator[str]:
        *counts, total = values
        for bound, count in zip((*self.bounds, "+Inf"), accumulate(counts), strict=True):
            yield f'{self.name}_bucket{{le="{bound}"}} {count}'
        yield f"{self.name}_count {sum(counts)}"
        yield f"{self.name}_sum {total}"


_METHODS = [f'{{method="{method}"}}' for method in ("batch", "single")]
_FAILURES = [f'{{err="{failure}"}}' for failure in sorted({kind.failure for kind in KINDS})]
_PADDING = "Tokens of padding that a step did without, which a rectangle of its texts has"
METRICS: tuple[_Numbers | _Histogram, ...] = (
    _Numbers("te_request_count", "Requests", "untyped", _METHODS),
    _Numbers("te_request_success", "Requests that were answered", "untyped", _METHODS),
    _Numbers("te_request_failure", "Requests that were refused, by what kind of error", "untyped", _FAILURES),
    *(
        _Numbers(f"te_{group}_{what}", f"Inputs to {group}, {what}", "untyped")
        for group in ("embed", "predict")
        for what in ("count", "success")
    ),
    *(
        _Histogram(name, f"Seconds of {name[len('te_') : -len('_duration')]}", SECONDS)
        for name in chain.from_iterable(_DURATIONS.values())
    ),
    _Histogram("bertie_step_padding", _PADDING, COUNTS),
    _Histogram("te_request_input_length", "Tokens of a request", COUNTS),
    _Histogram("te_batch_next_size", "Texts in a step", COUNTS),
    _Histogram("te_batch_next_tokens", "Tokens in a step", COUNTS),
    _Numbers("te_queue_size", "Requests that wait for their first step", "gauge"),
    _Numbers("bertie_requests_in_flight", "Requests that are being answered", "gauge"),
    _Numbers("bertie_tokens_total", "Tokens computed", "counter"),
    _Numbers("bertie_step_seconds_total", "Seconds in which a thread computed", "counter"),
    _Numbers("bertie_tokens_cut_total", "Tokens that were cut off texts too long", "counter"),
)
_PLACES = {name: place for place, name in enumerate(chain.from_iterable(metric.places for metric in METRICS))}
# how many numbers a process counts
WIDTH = len(_PLACES)


class Metrics:
    """What happened since the start, of one ``process`` of those that have rows in ``numbers``."""

    def __init__(self, numbers: Any = None, process: int = 0) -> None:
        self._all = memoryview(array("d", bytes(8 * WIDTH)) if numbers is None else numbers).cast("B").cast("d")
        self._own = self._all[process * WIDTH : (process + 1) * WIDTH]

    def on_step(self, step: Step) -> None:
        """Note a step."""
        self._observe("te_batch_next_size", COUNTS, step.rows)
        self._observe("te_batch_next_tokens", COUNTS, step.tokens)
        self._observe("bertie_step_padding", COUNTS, step.padding)
        self._add("bertie_tokens_total", step.tokens)
        self._add("bertie_step_seconds_total", step.seconds)

    def on_answers(self, task: str, answers: Answers, seconds: float) -> None:
        """Note what one question to a model took, ``seconds`` in all."""
        spent = (seconds, answers.tokenization, answers.queue, answers.inference)
        self._observe_durations("request", spent)
        self._observe("te_request_input_length", COUNTS, answers.tokens)
        self._add("bertie_tokens_cut_total", sum(answers.truncated))
        if (group := _GROUPS.get(task)) is not None:
            self._observe_durations(group, spent)
            self._add(f"te_{group}_count", len(answers.values))
            self._add(f"te_{group}_success", len(answers.values))

    def on_request(self, method: str, failure: str | None) -> None:
        """Note a request: "single" or "batch", and by what kind of error it was refused."""
        self._add(f'te_request_count{{method="{method}"}}', 1)
        if failure is None:
            self._add(f'te_request_success{{method="{method}"}}', 1)
        else:
            self._add(f'te_request_failure{{err="{failure}"}}', 1)

    def note_load(self, waiting: int, in_flight: int) -> None:
        """Note how many requests wait, and are being answered, in this process."""
        self._own[_PLACES["te_queue_size"]] = waiting
        self._own[_PLACES["bertie_requests_in_flight"]] = in_flight

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        sums = iter(np.asarray(self._all).reshape(-1, WIDTH).sum(axis=0).tolist())
        lines = []
        for metric in METRICS:
            lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}"]
            lines += metric.lines([next(sums) for _ in metric.places])
        return "\n".join([*lines, ""]).encode()

    def _add(self, place: str, count: float) -> None:
        self._own[_PLACES[place]] += count

    def _observe(self, name: str, bounds: Sequence[float], value: float) -> None:
        first = _PLACES[name]
        self._own[first + bisect_left(bounds, value)] += 1
        self._own[first + len(bounds) + 1] += value

    def _observe_durations(self, group: str, seconds: Sequence[float]) -> None:
        for name, value in zip(_DURATIONS[group], seconds, strict=True):
            self._observe(name, SECONDS, value)
