"""Prometheus metrics under the names of text-embeddings-inference, and bertie's own beside them."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client import Counter as Totals
from prometheus_client.core import Metric

from bertie.serving.scheduler import Step
from bertie.serving.service import Answers

SECONDS = [1e-5 * 1.5**power for power in range(1, 36)]
COUNTS = [float(2**power) for power in range(20)]
# what a task is called in the names of metrics
_GROUPS = {"embed": "embed", "text-classification": "predict", "reranking": "predict"}
_PARTS = ("", "_tokenization", "_queue", "_inference")


class PlainCounter:
    """Counters whose name has no ``_total`` at its end, as those of text-embeddings-inference."""

    def __init__(self, name: str, text: str, label: str, registry: CollectorRegistry) -> None:
        self._name, self._text, self._label = name, text, label
        self.counts: Counter[str] = Counter()
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._text, "unknown")
        for value, count in self.counts.items() if self._label else [("", self.counts[""])]:
            metric.add_sample(self._name, {self._label: value} if self._label else {}, count)
        yield metric


class Metrics:
    """What happened since the start."""

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
        self._waiting = Gauge("te_queue_size", "Requests that wait for their first step", registry=self.registry)
        self._in_flight = Gauge("bertie_requests_in_flight", "Requests that are being answered", registry=self.registry)
        self._tokens = Totals("bertie_tokens", "Tokens computed", registry=self.registry)
        self._busy = Totals("bertie_step_seconds", "Seconds in which a thread computed", registry=self.registry)
        self._cut = Totals("bertie_tokens_cut", "Tokens that were cut off texts too long", registry=self.registry)

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
                self._of_groups[group, what].counts[""] += len(answers.values)
        self._lengths.observe(answers.tokens)
        self._cut.inc(sum(answers.truncated))

    def on_request(self, method: str, failure: str | None) -> None:
        """Note a request: "single" or "batch", and by what kind of error it was refused."""
        self._requests.counts[method] += 1
        if failure is None:
            self._successes.counts[method] += 1
        else:
            self._failures.counts[failure] += 1

    def text(self, waiting: int, in_flight: int) -> bytes:
        """Return all in Prometheus' text format."""
        self._waiting.set(waiting)
        self._in_flight.set(in_flight)
        return generate_latest(self.registry)

    def _plain(self, name: str, text: str, label: str) -> PlainCounter:
        return PlainCounter(name, text, label, self.registry)

    def _histogram(self, name: str, text: str, buckets: list[float]) -> Histogram:
        return Histogram(name, text, buckets=buckets, registry=self.registry)
