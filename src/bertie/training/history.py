"""The history of a run: its log lines, its best score, and everything needed to resume it; and callbacks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from torch import nn

Record = dict[str, Any]
Log = Callable[[Record], None]
# names in older runs → today's
_NAMES = {"figures": "metrics", "best_figures": "best_metrics"}


@dataclass
class History:
    """A run up to now; `train` returns it."""

    total: int = 0  # steps of the whole run, if it does not stop early; under a budget, as last planned
    step: int = 0  # finished steps
    ends: list[int] = field(default_factory=list)  # steps at which the run was finished before it was extended
    # under a budget, each plan: the step at which it was made, the share of the run that was done, the total steps, and
    # the seconds passed without evaluations (see `budget`)
    plans: list[list[float]] = field(default_factory=list)
    evaluating: float = 0.0  # seconds of all evaluations
    overhead: float = 0.0  # seconds of the last evaluation and the last saved state
    phases: list[int] = field(default_factory=lambda: [0])  # the first step of each phase that has begun
    more: int = 0  # epochs that the run was extended by
    # log lines. For steps: step, epoch, loss, the terms of a loss that is a sum as NAME_loss, learning_rate, grad_norm,
    # tokens (of all steps so far), tokens_per_second, seconds. For evaluations: step, epoch, metrics, score (the metric
    # that decides; higher is better), is_best, seconds
    records: list[Record] = field(default_factory=list)
    best_step: int | None = None  # of the best evaluation; None before the first
    best_score: float | None = None
    best_metrics: dict[str, float | None] = field(default_factory=dict)
    waited: int = 0  # evaluations since the best
    evaluated: int = 0  # the step of the last evaluation
    told: int = 0  # the step at which callbacks were last called for the end of an epoch
    stopped_early: bool = False  # by ``patience``
    asked_to_stop: bool = False  # by a callback
    skipped: list[int] = field(default_factory=list)  # steps skipped because of NaN or infinity
    rewound: list[list[int]] = field(default_factory=list)  # steps with a spike, each with the step it went back to
    recent: list[float] = field(default_factory=list)  # losses to detect spikes by
    warnings: list[str] = field(default_factory=list)  # messages for the user
    seconds: float = 0.0  # training time, including sessions before a resume
    losses: list[float] = field(default_factory=list)  # since the last log line, as are the next three
    norms: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    tokens: int = 0
    micro_tokens: int = 0  # tokens in a micro-batch; reduced when memory runs out
    settings: dict[str, Any] = field(default_factory=dict)  # with defaults filled in

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the history from `to_dict`; fields that a run of an older bertie lacks get their defaults."""
        found = _renamed(values) | {"records": list(map(_renamed, values.get("records", ())))}
        return cls(**{each.name: found[each.name] for each in fields(cls) if each.name in found})

    @property
    def is_over(self) -> bool:
        """Whether no step is left, or the run was stopped early or by a callback."""
        return self.step >= self.total or self.stopped_early or self.asked_to_stop

    def progress(self, step: int) -> float:
        """Return the share of the run that is done before step ``step`` (from 0)."""
        for begun, done, total, _ in reversed(self.plans):
            if begun <= step:
                return min(1.0, done + (1.0 - done) * (step - begun) / max(1, total - begun))
        return step / self.total

    def last(self, name: str) -> Any:
        """Return the value of ``name`` in the last log line that has it; None if none has."""
        return next((record[name] for record in reversed(self.records) if name in record), None)

    def note(self) -> str:
        """Return loss and speed for the progress bar; empty before the first log line."""
        lines = [record for record in self.records[-2:] if record.get("loss") is not None]
        return f"loss {lines[-1]['loss']:.4f}, {lines[-1]['tokens_per_second']:,.0f} tokens/s" if lines else ""

    def line_of_steps(self, epoch: float, rate: float, seconds: float) -> Record:
        """Return the log line for the steps since the last one, and reset the running sums."""
        computing = seconds - max((record["seconds"] for record in self.records), default=0.0)
        record: Record = {
            "step": self.step,
            "epoch": round(epoch, 4),
            **finite({"loss": _mean(self.losses)}),
            **finite({f"{name}_loss": _mean(values) for name, values in self.terms.items()}),
            "learning_rate": rate,
            **finite({"grad_norm": _mean(self.norms)}),
            "tokens": self.tokens + (self.last("tokens") or 0),
            "tokens_per_second": round(self.tokens / max(computing, 1e-9), 1),
            "seconds": round(seconds, 3),
        }
        self.losses, self.norms, self.terms, self.tokens = [], [], {}, 0
        return record

    def is_better(self, score: float | None) -> bool:
        """Whether ``score`` is higher than all before; on a tie the first remains the best, and NaN (None) never is."""
        return score is not None and (self.best_score is None or score > self.best_score)


@dataclass(frozen=True)
class Event:
    """The argument of a callback.

    Attributes:
        kind: "steps" or "evaluation" for the log line of steps or an evaluation, "epoch" for the end of an epoch.
        record: the log line as in ``metrics.jsonl``; at the end of an epoch, ``step``, ``epoch`` and ``seconds``.
        model: the current model, in eval mode; with adapters it is wrapped by peft.
        history: the run so far, including what came before a resume.
    """

    kind: Literal["steps", "evaluation", "epoch"]
    record: Record
    model: nn.Module
    history: History


# A callback that returns True ends the training after this step, as if it were the last.
Callback = Callable[[Event], object]


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics with None for NaN and infinity, which JSON does not have."""
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in values.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
