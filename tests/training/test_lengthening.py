"""More epochs for a finished run: exactly from where it ended, with a learning rate that warms up and falls again."""

from pathlib import Path
from typing import Any

import pytest
import torch
from learning import TextLearner, weights

from bertie.errors import InputError
from bertie.training import Event, Settings, train

FAST: dict[str, Any] = {"batch_size": 6, "learning_rate": 1e-2, "seed": 3}


def trained(folder: Path | None, **more: Any) -> tuple[TextLearner, Any]:
    settings = Settings(**{**FAST, "log_every": 1, **more.pop("settings", {})})
    learner = TextLearner(dropout=True)
    return learner, train(learner, settings, folder=folder, **more)


def same(one: TextLearner, other: TextLearner) -> None:
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


def test_extension_at_a_constant_rate_equals_one_longer_run(tmp_path: Path) -> None:
    constant = {"schedule": "constant", "warmup": 0}
    trained(tmp_path, settings={**constant, "epochs": 2})
    longer, history = trained(tmp_path, settings={**constant, "epochs": 2}, more_epochs=1)
    whole, _ = trained(None, settings={**constant, "epochs": 3})
    same(longer, whole)
    assert (history.step, history.total, history.ends, history.more) == (12, 12, [8], 1)


def test_the_rate_warms_up_and_falls_again(tmp_path: Path) -> None:
    settings = {"epochs": 2, "warmup": 0.25}
    trained(tmp_path, settings=settings)
    _, history = trained(tmp_path, settings=settings, more_epochs=1)
    _, again = trained(tmp_path, settings=settings, more_epochs=2)
    rates = [record["learning_rate"] for record in again.records]
    alone = [
        record["learning_rate"]
        for count in (2, 1, 2)
        for record in trained(None, settings={**settings, "epochs": count})[1].records
    ]
    assert rates == pytest.approx(alone)
    assert (history.ends, again.ends, again.step) == ([8], [8, 12], 20)
    assert [round(record["epoch"], 2) for record in again.records] == [number / 4 for number in range(1, 21)]


def test_an_interrupted_extension_is_resumed_to_the_same_weights(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    settings = {"epochs": 2}
    trained(whole, settings=settings)
    trained(half, settings=settings)
    expected, _ = trained(whole, settings=settings, more_epochs=2)

    def stop(event: Event) -> None:
        if event.record["step"] == 13:
            raise RuntimeError

    saving = {**settings, "save_every": 1}
    with pytest.raises(RuntimeError):
        trained(half, settings=saving, more_epochs=2, callbacks=[stop])
    for more, message in (
        ({"more_epochs": 2}, r"is not finished, .* let it finish first: resume=True with more_epochs=2\."),
        ({"more_epochs": 3, "resume": True}, "let it finish first: resume=True with more_epochs=2"),
        ({"resume": True}, "was extended; to continue that, give more_epochs=2 too"),
    ):
        with pytest.raises(InputError, match=message):
            trained(half, settings=saving, **more)
    found, history = trained(half, settings=saving, more_epochs=2, resume=True)
    assert history.step == 16
    same(found, expected)
    # once it is over, there is nothing left to resume
    assert trained(half, settings=saving, more_epochs=2, resume=True)[1].step == 16


def test_a_run_that_stopped_early_is_extended_from_there(tmp_path: Path) -> None:
    def ended(event: Event) -> bool:
        return event.record["step"] == 6

    settings = {"epochs": 5}
    _, history = trained(tmp_path, settings=settings, callbacks=[ended])
    assert (history.step, history.asked_to_stop) == (6, True)
    _, history = trained(tmp_path, settings=settings, more_epochs=1)
    assert (history.step, history.ends, history.asked_to_stop) == (10, [6], False)


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run in .* to extend"):
        trained(tmp_path, settings={"epochs": 1}, more_epochs=1)
    trained(tmp_path, settings={"epochs": 1})
    with pytest.raises(InputError, match="learning_rate was 0.01 and is now 0.02"):
        trained(tmp_path, settings={"epochs": 1, "learning_rate": 0.02}, more_epochs=1)
