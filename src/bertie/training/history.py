"""What a run has done so far: its log lines, its best score, and all that is needed to go on; and who is told of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from torch import nn

Record = dict[str, Any]
Log = Callable[[Record], None]
# what older runs call these
_NAMES = {"figures": "metrics", "best_figures": "best_metrics"}


@dataclass
class History:
    """A run up to now; `train` returns it."""

    total: int = 0  # steps of the whole run, were it not to stop early; under a budget as planned last
    step: int = 0  # finished steps
    ends: list[int] = field(default_factory=list)  # steps at which the run was finished, before it was made longer
    # under a budget, each number of steps that was planned: after which step, what share of the run was done by then,
    # the steps in all, and the seconds passed without evaluations (see `budget`)
    plans: list[list[float]] = field(default_factory=list)
    evaluating: float = 0.0  # the seconds of all evaluations
    overhead: float = 0.0  # the seconds of the last evaluation and the last saved state
    phases: list[int] = field(default_factory=lambda: [0])  # the first step of each phase that has begun
    more: int = 0  # how many epochs the run was made longer by
    # log lines. Of steps: step, epoch, loss and, of a loss that is a sum, each term as NAME_loss, learning_rate,
    # grad_norm, tokens (of all steps so far), tokens_per_second, seconds; of evaluations: step, epoch, metrics, score
    # (the metric that decides; higher is better), is_best, seconds
    records: list[Record] = field(default_factory=list)
    best_step: int | None = None  # of the best evaluation; None before the first
    best_score: float | None = None
    best_metrics: dict[str, float | None] = field(default_factory=dict)
    waited: int = 0  # evaluations since the best
    evaluated: int = 0  # the step after which the last evaluation was made
    told: int = 0  # the step after which callbacks were last told of an epoch's end
    stopped_early: bool = False  # by ``patience``
    asked_to_stop: bool = False  # by a callback
    skipped: list[int] = field(default_factory=list)  # steps left out because a number in them was not finite
    rewound: list[list[int]] = field(default_factory=list)  # steps with a spike, and those gone back to
    recent: list[float] = field(default_factory=list)  # the losses that the next one is compared with
    warnings: list[str] = field(default_factory=list)  # sentences for the user
    seconds: float = 0.0  # training time, that of earlier sessions of a resumed run included
    losses: list[float] = field(default_factory=list)  # of the steps since the last log line, and so are these
    norms: list[float] = field(default_factory=list)
    terms: dict[str, list[float]] = field(default_factory=dict)
    tokens: int = 0
    micro_tokens: int = 0  # tokens computed at a time; less after memory was exhausted
    settings: dict[str, Any] = field(default_factory=dict)  # with what was used for each that was left open

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` was made of; a run that was begun by an older bertie may lack a field.

        Metrics were called figures there.
        """
        found = _renamed(values) | {"records": list(map(_renamed, values.get("records", ())))}
        return cls(**{each.name: found[each.name] for each in fields(cls) if each.name in found})

    @property
    def is_over(self) -> bool:
        """Whether no step is left, or there was a reason to stop."""
        return self.step >= self.total or self.stopped_early or self.asked_to_stop

    def progress(self, step: int) -> float:
        """Return the share of the run that is done before step ``step`` (from 0)."""
        for begun, done, total, _ in reversed(self.plans):
            if begun <= step:
                return min(1.0, done + (1.0 - done) * (step - begun) / max(1, total - begun))
        return step / self.total

    def last(self, name: str) -> Any:
        """Return what the last log line that has ``name`` says of it; None if there is none."""
        return next((record[name] for record in reversed(self.records) if name in record), None)

    def note(self) -> str:
        """Return loss and speed as a progress bar shows them; empty before the first log line."""
        lines = [record for record in self.records[-2:] if record.get("loss") is not None]
        return f"loss {lines[-1]['loss']:.4f}, {lines[-1]['tokens_per_second']:,.0f} tokens/s" if lines else ""

    def line_of_steps(self, epoch: float, rate: float, seconds: float) -> Record:
        """Return the log line of the steps since the last one, and reset what they add up."""
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
        """Whether ``score`` is higher than all before; the first of equal ones stays the best, NaN (None) is none."""
        return score is not None and (self.best_score is None or score > self.best_score)


@dataclass(frozen=True)
class Event:
    """What a callback is called with.

    Attributes:
        kind: "steps" or "evaluation" for a log line of steps or of an evaluation, "epoch" for the end of an epoch.
        record: the log line as in ``metrics.jsonl``; of an epoch's end ``step``, ``epoch`` and ``seconds``.
        model: as it is at this moment, in eval mode; one that learns adapters is wrapped by peft.
        history: all that has happened so far, what came before a resume included.
    """

    kind: Literal["steps", "evaluation", "epoch"]
    record: Record
    model: nn.Module
    history: History


# One that returns True ends the training after this step, as if it were its last.
Callback = Callable[[Event], object]


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the metrics with None for what is no finite number, which JSON does not have."""
    return {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()}


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in values.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
