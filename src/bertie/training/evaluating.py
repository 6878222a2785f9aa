"""Evaluations during training: their metrics, and the one that decides which weights are best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from bertie.errors import InputError
from bertie.metrics.streaming import LOWER_IS_BETTER, MetricValues
from bertie.progress import logger
from bertie.training.distributed import Processes, is_first
from bertie.training.history import History, finite
from bertie.training.signals import Signals

Evaluate = Callable[[], Mapping[str, float]]
Check = Callable[[Mapping[str, float]], str | None]


@dataclass(frozen=True)
class Evaluation:
    """The arguments ``evaluate``, ``metric`` and ``check`` of `train`."""

    evaluate: Evaluate | None
    metric: str | None
    check: Check | None

    def metrics(self, model: nn.Module, history: History, group: Processes, signals: Signals) -> MetricValues | None:
        """Return the first process's metrics, with None for NaN; return None if a signal interrupted it."""
        assert self.evaluate is not None
        metrics: MetricValues | None = None
        model.eval()
        if group.rank == 0:
            try:
                with signals.at_once():
                    found = self.evaluate()
                    if self.check is not None and (sentence := self.check(found)):
                        warn(history, f"After step {history.step}: {sentence}")
                    metrics = finite(found)
            except KeyboardInterrupt:
                if not signals.received:
                    raise
        model.train()
        return group.broadcast(metrics)

    def score(self, metrics: MetricValues) -> float | None:
        """Return the metric that decides, negated if lower is better; None if it is NaN."""
        name = self.metric if self.metric is not None else next(iter(metrics), "")
        if name not in metrics:
            raise InputError(f"evaluate() gave no metric {name!r}; it gave: {', '.join(metrics) or 'nothing'}.")
        value = metrics[name]
        return -value if value is not None and name in LOWER_IS_BETTER else value


def warn(history: History, message: str) -> None:
    """Keep a warning with the run, and log it in the first process."""
    history.warnings.append(message)
    if is_first():
        logger.warning("%s", message)
