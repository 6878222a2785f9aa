"""Callbacks: called once for each log line and each epoch's end; one may end the training, which is then evaluated."""

from pathlib import Path
from typing import Any

import pytest
import torch
from learning import TextLearner, weights

from bertie.training import Event, Settings, train

FAST: dict[str, Any] = {"batch_size": 6, "learning_rate": 1e-2, "seed": 3}


def test_events_come_in_order_and_change_nothing() -> None:
    one, other, seen = TextLearner(dropout=True), TextLearner(dropout=True), []

    def watch(event: Event) -> None:
        assert not event.model.training
        torch.randn(3)
        seen.append((event.kind, event.record["step"], event.record["epoch"]))

    settings = Settings(**FAST, epochs=2, log_every=2)
    history = train(one, settings, evaluate=one.accuracy, callbacks=[watch])
    train(other, settings, evaluate=other.accuracy)
    assert seen == [
        *[("steps", 2, 0.5), ("steps", 4, 1.0), ("evaluation", 4, 1.0), ("epoch", 4, 1)],
        *[("steps", 6, 1.5), ("steps", 8, 2.0), ("evaluation", 8, 2.0), ("epoch", 8, 2)],
    ]
    assert not history.asked_to_stop
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


@pytest.mark.parametrize(
    ("stops", "steps"),
    [
        (lambda event: event.kind == "epoch" and event.record["epoch"] == 2, 8),
        (lambda event: event.kind == "steps" and event.record["step"] == 5, 5),
        (lambda event: event.kind == "evaluation", 4),
        (lambda event: "no boolean", 12),
    ],
)
def test_a_callback_ends_the_training(stops: Any, steps: int) -> None:
    learner = TextLearner()
    settings = Settings(**FAST, epochs=3, log_every=1)
    history = train(learner, settings, evaluate=learner.accuracy, metric="minus_loss", callbacks=[stops])
    assert (history.step, history.total, history.evaluated) == (steps, 12, steps)
    assert (history.asked_to_stop, history.stopped_early) == (steps < 12, False)
    # the weights are those of the best evaluation
    assert learner.accuracy()["minus_loss"] == pytest.approx(history.best_score)


def test_callbacks_of_a_resumed_run_only_get_new_events(tmp_path: Path) -> None:
    class Fault(Exception):
        pass

    def watch(event: Event) -> bool:
        seen.append((event.kind, event.record["step"]))
        if seen.count(("steps", 6)) == 1 and not failed:
            failed.append(True)
            raise Fault
        return event.kind == "epoch" and event.record["epoch"] == 2

    seen: list[Any] = []
    failed: list[bool] = []
    settings = Settings(**FAST, epochs=3, log_every=2, save_every=1)
    with pytest.raises(Fault):
        train(TextLearner(), settings, folder=tmp_path, callbacks=[watch])
    assert seen == [("steps", 2), ("steps", 4), ("epoch", 4), ("steps", 6)]
    seen.clear()
    history = train(TextLearner(), settings, folder=tmp_path, resume=True, callbacks=[watch])
    assert seen == [("steps", 6), ("steps", 8), ("epoch", 8)]
    assert [record["step"] for record in history.records] == [2, 4, 6, 8]
    seen.clear()
    assert train(TextLearner(), settings, folder=tmp_path, resume=True, callbacks=[watch]).step == 8
    assert seen == []
