"""Prometheus metrics under the names of text-embeddings-inference, and bertie's own beside them.

The counters of a process are a row of numbers. Several processes keep their rows in shared memory: each reports the
sums, and a replacement process continues the row of the one it replaces.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
from prometheus_client import generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric

from bertie.serving.refusals import KINDS
from bertie.serving.scheduler import Step
from bertie.serving.service import Answers

SECONDS = tuple(1e-5 * 1.5**power for power in range(1, 36))
COUNTS = tuple(float(2**power) for power in range(20))
# a task → its group in the names of metrics
_GROUPS = {"embed": "embed", "text-classification": "predict", "reranking": "predict"}
_DURATIONS = {
    group: [f"te_{group}{part}_duration" for part in ("", "_tokenization", "_queue", "_inference")]
    for group in ("request", "embed", "predict")
}


@dataclass(frozen=True)
class _Scalar:
    """One number, or one for each value of a label; label values that never occurred are left out."""

    name: str
    text: str
    kind: str
    label: str = ""
    values: Sequence[str] = ("",)

    @property
    def slots(self) -> Sequence[str]:
        """The keys of the numbers."""
        return [f"{self.name} {value}" if self.label else self.name for value in self.values]

    def family(self, numbers: Sequence[float]) -> Metric:
        found = Metric(self.name.removesuffix("_total"), self.text, self.kind)
        for value, number in zip(self.values, numbers, strict=True):
            if number or not self.label:
                found.add_sample(self.name, {self.label: value} if self.label else {}, number)
        return found


@dataclass(frozen=True)
class _Histogram:
    """The number of values in each bucket, the last one unbounded, and the sum of all values."""

    name: str
    text: str
    bounds: Sequence[float]

    @property
    def slots(self) -> Sequence[str]:
        """The keys of the numbers."""
        return [self.name, *(f"{self.name} {bound}" for bound in self.bounds), f"{self.name}_sum"]

    def family(self, numbers: Sequence[float]) -> Metric:
        *counts, total = numbers
        buckets = zip((*map(str, self.bounds), "+Inf"), accumulate(counts), strict=True)
        return HistogramMetricFamily(self.name, self.text, buckets=list(buckets), sum_value=total)


_METHODS = ("batch", "single")
_FAILURES = sorted({kind.failure for kind in KINDS})
_PADDING = "Padding tokens that a step avoided by packing its texts"
METRICS: tuple[_Scalar | _Histogram, ...] = (
    _Scalar("te_request_count", "Requests", "untyped", "method", _METHODS),
    _Scalar("te_request_success", "Requests that were answered", "untyped", "method", _METHODS),
    _Scalar("te_request_failure", "Requests that were refused, by kind of error", "untyped", "err", _FAILURES),
    *(
        _Scalar(f"te_{group}_{what}", f"Inputs to {group}, {what}", "untyped")
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
    _Scalar("te_queue_size", "Requests waiting for their first step", "gauge"),
    _Scalar("bertie_requests_in_flight", "Requests being answered", "gauge"),
    _Scalar("bertie_tokens_total", "Tokens computed", "counter"),
    _Scalar("bertie_step_seconds_total", "Seconds spent computing, summed over threads", "counter"),
    _Scalar("bertie_tokens_cut_total", "Tokens cut off texts that were too long", "counter"),
)
_SLOTS = {key: index for index, key in enumerate(chain.from_iterable(metric.slots for metric in METRICS))}
# the numbers in the row of a process
WIDTH = len(_SLOTS)


class Metrics:
    """The counters of one ``process``, a row of the shared ``numbers``; by default it has the only row."""

    def __init__(self, numbers: Any = None, process: int = 0) -> None:
        self._all = memoryview(array("d", bytes(8 * WIDTH)) if numbers is None else numbers).cast("B").cast("d")
        self._own = self._all[process * WIDTH : (process + 1) * WIDTH]

    def on_step(self, step: Step) -> None:
        """Count a step."""
        self._observe("te_batch_next_size", COUNTS, step.rows)
        self._observe("te_batch_next_tokens", COUNTS, step.tokens)
        self._observe("bertie_step_padding", COUNTS, step.padding)
        self._add("bertie_tokens_total", step.tokens)
        self._add("bertie_step_seconds_total", step.seconds)

    def on_answers(self, task: str, answers: Answers, seconds: float) -> None:
        """Count one call to a model that took ``seconds`` in all."""
        spent = (seconds, answers.tokenization, answers.queue, answers.inference)
        self._observe_durations("request", spent)
        self._observe("te_request_input_length", COUNTS, answers.tokens)
        self._add("bertie_tokens_cut_total", sum(answers.truncated))
        if (group := _GROUPS.get(task)) is not None:
            self._observe_durations(group, spent)
            self._add(f"te_{group}_count", len(answers.values))
            self._add(f"te_{group}_success", len(answers.values))

    def on_request(self, method: str, failure: str | None) -> None:
        """Count a request, "single" or "batch", and the kind of error if it was refused."""
        self._add(f"te_request_count {method}", 1)
        self._add(f"te_request_success {method}" if failure is None else f"te_request_failure {failure}", 1)

    def note_load(self, waiting: int, in_flight: int) -> None:
        """Set how many requests are waiting and being answered in this process."""
        self._own[_SLOTS["te_queue_size"]] = waiting
        self._own[_SLOTS["bertie_requests_in_flight"]] = in_flight

    def collect(self) -> Iterator[Metric]:
        """Yield the sums over all processes, as a Prometheus registry does."""
        sums = iter(np.asarray(self._all).reshape(-1, WIDTH).sum(axis=0).tolist())
        for metric in METRICS:
            yield metric.family([next(sums) for _ in metric.slots])

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        registry: Any = self
        return generate_latest(registry)

    def _add(self, slot: str, count: float) -> None:
        self._own[_SLOTS[slot]] += count

    def _observe(self, name: str, bounds: Sequence[float], value: float) -> None:
        first = _SLOTS[name]
        self._own[first + bisect_left(bounds, value)] += 1
        self._own[first + len(bounds) + 1] += value

    def _observe_durations(self, group: str, seconds: Sequence[float]) -> None:
        for name, value in zip(_DURATIONS[group], seconds, strict=True):
            self._observe(name, SECONDS, value)
