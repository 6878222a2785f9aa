"""Which states are kept, and writing them in the background."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from learning import TextLearner

from bertie.errors import CheckpointError
from bertie.training import Settings, state, train

SETTINGS: dict[str, Any] = {"steps": 10, "batch_size": 6, "learning_rate": 1e-3, "log_every": 1}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_last_and_the_permanent_states_are_kept(tmp_path: Path) -> None:
    train(TextLearner(), Settings(**SETTINGS, save_every=1, keep_states=2, keep_every=4), folder=tmp_path)
    assert names(tmp_path) == ["state-000004-stays", "state-000008-stays", "state-000009", "state-000010"]
    resumed = train(TextLearner(), Settings(**SETTINGS, save_every=5), folder=str(tmp_path), resume=True)
    assert resumed.step == 10
    assert names(tmp_path) == ["state-000004-stays", "state-000008-stays", "state-000010"]


def test_steps_go_on_while_a_state_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, went_on, seen = state.write_tensors, threading.Event(), []

    def waiting(*given: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            seen.append(went_on.wait(60))
        return plain(*given)

    monkeypatch.setattr(state, "write_tensors", waiting)
    learner = TextLearner()
    settings = Settings(**SETTINGS, save_every=6)
    train(
        learner,
        settings,
        folder=tmp_path,
        callbacks=[lambda event: went_on.set() if event.record["step"] == 8 else None],
    )
    assert seen == [True, True]  # model and optimiser of step 6 were written after step 8


def test_the_best_weights_are_written_after_a_pending_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = state.write_tensors

    def slowly(*given: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.1)
        return plain(*given)

    monkeypatch.setattr(state, "write_tensors", slowly)
    learner = TextLearner()
    settings = Settings(**SETTINGS, save_every=1, evaluate_every=2)
    history = train(learner, settings, evaluate=learner.accuracy, metric="minus_loss", folder=tmp_path)
    assert names(tmp_path)[0] == f"best-{history.best_step:08}.safetensors"


def test_write_errors_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise CheckpointError("cannot write: No space left on device")

    monkeypatch.setattr(state, "write_tensors", full)
    with pytest.raises(CheckpointError, match="No space left"):
        train(TextLearner(), Settings(**SETTINGS, save_every=3), folder=tmp_path)
