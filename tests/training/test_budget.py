"""A time budget with a simulated clock: the run ends in time and at the final rate, and is resumed bitwise."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from learning import TextLearner, weights
from torch import Tensor

from bertie.errors import Stopped
from bertie.training import History, Phase, Settings, loop, train
from bertie.training.budget import deadline
from bertie.training.distributed import ALONE

SETTINGS: dict[str, Any] = {"batch_size": 6, "learning_rate": 1e-2, "seed": 3, "log_every": 1}


class Timed(TextLearner):
    """A learner whose steps take the seconds that ``pace`` returns for the share of the time that has passed."""

    def __init__(self, clock: "Clock", **fields: Any) -> None:
        super().__init__(dropout=True, **fields)
        self.clock = clock

    def loss(self, examples: Sequence[int]) -> Tensor:
        self.clock.move()
        return super().loss(examples)


class Clock:
    def __init__(self, first: float = 1.0, pace: float = 1.0, later: float | None = None) -> None:
        self.now, self.first, self.pace, self.later, self.steps = 0.0, first, pace, later, 0
        self.stop_at = -1

    def move(self) -> None:
        self.now += self.first if not self.steps else self.pace if self.later is None or self.now < 50 else self.later
        self.steps += 1

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=found))
    return found


def rates(history: History) -> list[float]:
    return [record["learning_rate"] for record in history.records if "learning_rate" in record]


@pytest.mark.parametrize(
    ("schedule", "speed"),
    [
        ("linear", (1.0, 0.5, 2.0)),
        ("cosine", (0.1, 2.0, 0.5)),
        ("triangle", (1.0, 1.0, None)),
        ("wsd", (9.0, 1.0, None)),
    ],
)
def test_a_run_ends_in_time_with_its_rate_at_the_end(
    clock: Clock, schedule: str, speed: tuple[float, float, float | None]
) -> None:
    clock.first, clock.pace, clock.later = speed
    history = train(Timed(clock), Settings(**SETTINGS, budget=100, schedule=schedule))
    longest = max(clock.pace, clock.later or 0.0)
    assert deadline(100, History(total=1)) - 2 * longest <= clock.now <= 100
    assert history.step == history.total == clock.steps
    found = rates(history)
    assert max(found) > 0.9e-2  # the peak was reached
    slope = {"triangle": 2, "wsd": 5}.get(schedule, 1)
    assert found[-1] < 1e-2 * slope * 4 * longest / 100  # it fell to that of a few steps before the end
    assert found[-1] == min(found[len(found) // 2 :])
    # it never jumps, however wrong the first plans were
    assert max(abs(one - other) for one, other in pairwise(found)) < 0.25e-2


def test_rates_follow_the_share_of_the_time(clock: Clock) -> None:
    """Steps become four times as long halfway: the rate falls by the clock, not by the steps."""
    clock.pace, clock.later = 0.5, 2.0
    history = train(Timed(clock), Settings(**SETTINGS, budget=100, warmup=0))
    for record in history.records[20:]:
        by_the_clock = 1e-2 * (1 - record["seconds"] / deadline(100, History(total=1)))
        assert record["learning_rate"] == pytest.approx(by_the_clock, abs=0.18e-2)


def test_time_is_reserved_for_evaluations_and_states(clock: Clock) -> None:
    def evaluate() -> dict[str, float]:
        clock.now += 3
        return {"loss": -clock.now}

    history = train(Timed(clock), Settings(**SETTINGS, budget=200, patience=None), evaluate=evaluate)
    found = [record for record in history.records if "metrics" in record]
    # a twentieth of the budget has room for three, besides the last one
    assert len(found) == 4
    assert rates(history)[-1] < 0.05e-2
    assert found[-1]["step"] == history.step
    assert (history.overhead, history.evaluating) == (3, 12)
    assert clock.now <= 200


def test_long_epochs_are_evaluated_by_the_time_too(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.settings.MAX_EVALUATION_INTERVAL", 2)  # of an epoch of 4 steps or more

    def evaluate() -> dict[str, float]:
        clock.now += 8
        return {"loss": 1.0}

    history = train(Timed(clock), Settings(**SETTINGS, budget=200, patience=None), evaluate=evaluate)
    assert history.overhead >= 8
    assert 170 <= clock.now <= 200
    assert len([record for record in history.records if "metrics" in record]) <= 10


def test_an_evaluation_that_was_slow_once_costs_no_steps_later(clock: Clock) -> None:
    taken = iter([5.0])

    def evaluate() -> dict[str, float]:
        clock.now += next(taken, 1.0)
        return {"loss": 1.0}

    train(Timed(clock), Settings(**SETTINGS, budget=200, patience=None), evaluate=evaluate)
    assert 190 <= clock.now <= 200


def test_all_processes_go_by_the_clock_of_the_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with another clock might leave the others waiting in an evaluation."""
    first = 4.0, 2.0
    monkeypatch.setattr(ALONE, "broadcast", lambda given: first if isinstance(given, tuple) else given)
    history = train(Timed(clock), Settings(**SETTINGS, budget=50), evaluate=lambda: {"loss": 1.0})
    assert (history.evaluating, history.overhead) == first


class Interrupted(Timed):
    """Stops the run at a step."""

    at = -1

    def loss(self, examples: Sequence[int]) -> Tensor:
        if self.clock.steps == self.at:
            raise Stopped("as if killed", 9)
        return super().loss(examples)


@pytest.mark.parametrize("at", [1, 7, 30])
def test_a_killed_run_is_resumed_to_the_same_weights(clock: Clock, tmp_path: Path, at: int) -> None:
    settings = Settings(**SETTINGS, budget=60, save_every=1)
    whole = Timed(clock)
    history = train(whole, settings, folder=tmp_path / "whole")
    clock.now, clock.steps = 0.0, 0
    half = Interrupted(clock)
    half.at = at
    with pytest.raises(Stopped):
        train(half, settings, folder=tmp_path / "half")
    last = Timed(clock)
    resumed = train(last, settings, folder=tmp_path / "half", resume=True)
    assert (resumed.plans, resumed.step) == (history.plans, history.step)
    assert all(torch.equal(each, weights(whole)[name]) for name, each in weights(last).items())


def test_phases_share_the_time(clock: Clock) -> None:
    short, long = Timed(clock), Timed(clock, count=7, seed=1)
    long.model = short.model
    history = train([Phase(short, 0.75), Phase(long, 0.25)], Settings(**SETTINGS, budget=100))
    assert history.phases[0] == 0
    assert history.phases[1] == pytest.approx(0.75 * history.step, abs=2)
    assert len(short.seen) == history.phases[1]
    assert len(long.seen) == history.step - history.phases[1]
