"""Prometheus metrics under the names of text-embeddings-inference, and bertie's own beside them."""

import os
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from bertie.serving.scheduler import Step
from bertie.serving.service import Answers
from bertie.serving.worker_processes import METRICS_FOLDER

SECONDS = [1e-5 * 1.5**power for power in range(1, 36)]
COUNTS = [float(2**power) for power in range(20)]
# what a task is called in the names of metrics
_GROUPS = {"embed": "embed", "text-classification": "predict", "reranking": "predict"}
_PARTS = ("", "_tokenization", "_queue", "_inference")


class _Shown:
    """Metrics as they are shown: a counter without ``_total``, which is kept as a gauge, is no gauge."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            if metric.type == "gauge" and metric.name.endswith(("_count", "_success", "_failure")):
                metric.type = "unknown"
            yield metric


class Metrics:
    """What happened since the start; of several processes together, by files that they share (`worker_processes`)."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._requests = self._plain("te_request_count", "Requests", "method")
        self._successes = self._plain("te_request_success", "Requests that were answered", "method")
        self._failures = self._plain("te_request_failure", "Requests that were refused, by what kind of error", "err")
        self._of_groups = {
            (group, what): self._plain(f"te_{group}_{what}", f"Inputs to {group}, {what}", "")
            for group in ("embed", "predict")
            for what in ("count", "success")
        }
        self._durations = {
            group: [
                self._histogram(f"te_{group}{part}_duration", f"Seconds of {group}{part}", SECONDS) for part in _PARTS
            ]
            for group in ("request", "embed", "predict")
        }
        saved = "Tokens of padding that a step did without, which a rectangle of its texts has"
        self._step_padding = self._histogram("bertie_step_padding", saved, COUNTS)
        self._lengths = self._histogram("te_request_input_length", "Tokens of a request", COUNTS)
        self._step_rows = self._histogram("te_batch_next_size", "Texts in a step", COUNTS)
        self._step_tokens = self._histogram("te_batch_next_tokens", "Tokens in a step", COUNTS)
        self._waiting = self._gauge("te_queue_size", "Requests that wait for their first step")
        self._in_flight = self._gauge("bertie_requests_in_flight", "Requests that are being answered")
        self._tokens = Counter("bertie_tokens", "Tokens computed", registry=self.registry)
        self._busy = Counter("bertie_step_seconds", "Seconds in which a thread computed", registry=self.registry)
        self._cut = Counter("bertie_tokens_cut", "Tokens that were cut off texts too long", registry=self.registry)

    def on_step(self, step: Step) -> None:
        """Note a step."""
        self._step_rows.observe(step.rows)
        self._step_tokens.observe(step.tokens)
        self._step_padding.observe(step.padding)
        self._tokens.inc(step.tokens)
        self._busy.inc(step.seconds)

    def on_answers(self, task: str, answers: Answers, seconds: float) -> None:
        """Note what one question to a model took, ``seconds`` in all."""
        spent = (seconds, answers.tokenization, answers.queue, answers.inference)
        groups = ["request", *([_GROUPS[task]] if task in _GROUPS else [])]
        for group in groups:
            for histogram, value in zip(self._durations[group], spent, strict=True):
                histogram.observe(value)
        for group in groups[1:]:
            for what in ("count", "success"):
                self._of_groups[group, what].inc(len(answers.values))
        self._lengths.observe(answers.tokens)
        self._cut.inc(sum(answers.truncated))

    def on_request(self, method: str, failure: str | None) -> None:
        """Note a request: "single" or "batch", and by what kind of error it was refused."""
        self._requests.labels(method).inc()
        if failure is None:
            self._successes.labels(method).inc()
        else:
            self._failures.labels(failure).inc()

    def note_load(self, waiting: int, in_flight: int) -> None:
        """Note how many requests wait, and are being answered, in this process."""
        self._waiting.set(waiting)
        self._in_flight.set(in_flight)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        several = METRICS_FOLDER in os.environ
        registry = CollectorRegistry()
        registry.register(_Shown(MultiProcessCollector(None) if several else self.registry))
        return generate_latest(registry)

    def _plain(self, name: str, text: str, label: str) -> Gauge:
        labels = [label] if label else []
        return Gauge(name, text, labels, multiprocess_mode="sum", registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, multiprocess_mode="livesum", registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: list[float]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)
