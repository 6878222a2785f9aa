"""A run that was stopped and resumed, however it was stopped, is bitwise equal to one that was not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning import TextLearner, weights
from safetensors.torch import load_file
from torch import Tensor

from bertie.errors import CheckpointError, InputError
from bertie.locking import only_process_in
from bertie.training import History, LookedUpSizes, Settings, Stopped, sparse_embeddings, train
from bertie.training.signals import STOPPING

PROGRAM = Path(__file__).with_name("learning.py")
SETTINGS: dict[str, Any] = {
    "steps": 10,
    "batch_size": 6,
    "learning_rate": 1e-2,
    "seed": 3,
    "evaluate_every": 3,
    "log_every": 4,
    "patience": 2,
}


class Interrupted(TextLearner):
    """Sends this process a signal while the loss of a step is computed, or while it is evaluated."""

    stop_at = -1
    while_evaluating = False
    number = signal.SIGINT

    def loss(self, examples: Sequence[int]) -> Tensor:
        if len(self.seen) == self.stop_at and not self.while_evaluating:
            os.kill(os.getpid(), self.number)
        return super().loss(examples)

    def accuracy(self) -> dict[str, float]:
        if self.stop_at >= 0 and self.while_evaluating:
            os.kill(os.getpid(), self.number)
            time.sleep(1)
        return super().accuracy()


def run(learner: TextLearner, folder: Path | None, resume: bool = False, **changed: Any) -> History:
    return train(
        learner,
        Settings(**SETTINGS | changed),
        evaluate=learner.accuracy,
        metric="minus_loss",
        folder=folder,
        resume=resume,
        data={"the training file": "abc"},
    )


def equal(one: History, other: History) -> None:
    """Check that histories are equal except for times."""
    timed = ("seconds", "tokens_per_second")
    lines = [[{k: v for k, v in each.items() if k not in timed} for each in h.records] for h in (one, other)]
    assert lines[0] == lines[1]
    assert (one.best_step, one.best_score, one.waited) == (other.best_step, other.best_score, other.waited)


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[History, dict[str, Tensor]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_embeddings, "MIN_ROWS", 8)
        learner = TextLearner(dropout=True)
        return run(learner, None), weights(learner)


@settings(deadline=None, max_examples=12)
@given(
    stops=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    while_evaluating=st.booleans(),
    save_every=st.sampled_from([None, 2]),
)
def test_an_interrupt_at_any_step(
    uninterrupted: tuple[History, dict[str, Tensor]], stops: list[int], while_evaluating: bool, save_every: int | None
) -> None:
    history, expected = uninterrupted
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_embeddings, "MIN_ROWS", 8)
        folder = Path(name)
        for stop in stops:
            learner = Interrupted(dropout=True)
            learner.stop_at, learner.while_evaluating = stop, while_evaluating
            with suppress(Stopped):  # no signal stops a run that is over
                run(learner, folder, resume=True, save_every=save_every)
        last = TextLearner(dropout=True, seed=0)
        torch.nn.init.normal_(last.model.classifier.weight)  # to show anything that is not restored
        equal(run(last, folder, resume=True), history)
        assert all(torch.equal(each, expected[name]) for name, each in weights(last).items())


def test_a_stream_is_resumed(tmp_path: Path) -> None:
    def streamed(learner: TextLearner) -> TextLearner:
        sizes, count = np.array(learner.sizes), len(learner.texts)
        learner.sizes = LookedUpSizes(count, lambda examples: sizes[examples % count])
        return learner

    by_tokens = {"batch_size": None, "batch_tokens": 40}
    whole, half, last = streamed(TextLearner(dropout=True)), Interrupted(dropout=True), TextLearner(dropout=True)
    history = run(whole, None, **by_tokens)
    half.stop_at = 4
    with pytest.raises(Stopped):
        run(streamed(half), tmp_path, **by_tokens)
    with pytest.raises(InputError, match="the lengths of the examples differ"):
        run(TextLearner(dropout=True), tmp_path, resume=True, **by_tokens)
    equal(run(streamed(last), tmp_path, resume=True, **by_tokens), history)
    assert half.seen + last.seen == whole.seen
    assert max(max(step) for step in whole.seen) >= len(whole.texts)  # of the second epoch
    assert all(torch.equal(each, weights(whole)[name]) for name, each in weights(last).items())


def program(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), "--dropout", *arguments]
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited for a minute in vain")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_or_stopped_process_is_resumed(tmp_path: Path, number: signal.Signals) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    reference = program(whole)
    stopped = program(cut, "--slow", "0.2")
    until(lambda: any((cut / "state").glob("state-00000[3-9]")))
    stopped.send_signal(number)
    _, error = stopped.communicate(timeout=60)
    assert stopped.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    if number != signal.SIGKILL:
        assert error.startswith("Training was stopped after step ")
        assert "Traceback" not in error
    assert not (cut / "final.safetensors").exists()
    again = program(cut, "--resume")
    assert again.communicate(timeout=60)[0] == "12\n"
    assert reference.communicate(timeout=60)[0] == "12\n"
    one, other = (load_file(folder / "final.safetensors") for folder in (whole, cut))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process = program(tmp_path, "--slow", "5")
    until(lambda: (tmp_path / "state").exists() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=4)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("number", STOPPING)
def test_each_signal_that_stops_has_its_exit_code(number: signal.Signals, tmp_path: Path) -> None:
    learner = Interrupted()
    learner.stop_at, learner.number = 1, number
    with pytest.raises(Stopped, match="resume=True continues from") as stopped:
        run(learner, tmp_path)
    assert stopped.value.exit_code == 128 + number
    with only_process_in(tmp_path), pytest.raises(InputError, match="Another process is at work in"):
        run(TextLearner(), tmp_path, resume=True)
    assert run(TextLearner(), tmp_path, resume=True).step == 10


def test_handlers_are_restored_and_not_set_in_other_threads() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(TextLearner(), None)
    learner = Interrupted()
    learner.stop_at = 1
    with pytest.raises(Stopped, match=r"^Training was stopped after step 2 of 10; nothing was saved"):
        run(learner, None)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    found: list[History] = []
    thread = threading.Thread(target=lambda: found.append(run(TextLearner(), None)))
    thread.start()
    thread.join()
    assert found[0].step == 10


@pytest.fixture
def stopped_run(tmp_path: Path) -> Path:
    learner = Interrupted()
    learner.stop_at = 4
    with pytest.raises(Stopped):
        run(learner, tmp_path / "state", save_every=1)
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("changed", "learner", "sentence"),
    [
        ({"batch_size": 5}, {}, "batch_size was 6 and is now 5"),
        ({"seed": 4}, {}, "seed was 3 and is now 4"),
        ({"learning_rate": 1e-3}, {}, "learning_rate was 0.01 and is now 0.001"),
        ({"freeze": "embeddings"}, {}, "freeze was None and is now 'embeddings'"),
        ({}, {"count": 21}, "examples was 20 and is now 21"),
        ({}, {"seed": 1}, "the lengths of the examples differ;"),
        ({}, {"num_labels": 4}, "the parameters that learn differ;"),
        (
            {"steps": 12},
            {},
            "with 12 steps instead of 10: its learning rates depend on its length. Give the same",
        ),
    ],
)
def test_other_data_or_settings_are_refused(
    stopped_run: Path, changed: dict[str, Any], learner: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refusal:
        run(TextLearner(**learner), stopped_run, resume=True, **changed)
    assert str(refusal.value).startswith(f"The run in {str(stopped_run)!r} cannot be resumed")
    assert sentence in str(refusal.value)


def test_other_data_of_the_caller_is_refused_by_name(stopped_run: Path) -> None:
    learner = TextLearner()
    with pytest.raises(InputError, match="the training file was 'abc' and is now 'xyz'"):
        train(learner, Settings(**SETTINGS), folder=stopped_run, resume=True, data={"the training file": "xyz"})


def test_another_number_of_processes_is_reported(stopped_run: Path) -> None:
    path = latest(stopped_run) / "state.json"
    state = json.loads(path.read_text())
    state["identity"]["number of processes"] = 2
    path.write_text(json.dumps(state))
    history = run(TextLearner(), stopped_run, resume=True)
    assert "continues with 1 process instead of 2: the examples of each step are the same" in history.warnings[0]


def test_settings_without_effect_on_the_result_may_change(stopped_run: Path) -> None:
    assert run(TextLearner(), stopped_run, resume=True, patience=None, save_every=3, log_every=1).step == 10


def test_a_run_at_a_constant_rate_is_extended(tmp_path: Path) -> None:
    constant = {"schedule": "constant", "warmup": 2, "patience": None}
    one, other = TextLearner(dropout=True), TextLearner(dropout=True)
    run(one, tmp_path, **constant)
    assert run(TextLearner(), tmp_path, resume=True, **constant).step == 10  # nothing is left to do
    run(one := TextLearner(dropout=True), tmp_path, resume=True, **constant, steps=13)
    run(other, None, **constant, steps=13)
    # the evaluation at the end of the shorter run is extra, and could make other weights the best
    assert torch.equal(weights(one)["classifier.weight"], weights(other)["classifier.weight"])


def test_an_existing_run_is_not_overwritten(stopped_run: Path) -> None:
    with pytest.raises(InputError, match=r"holds the state of a run; continue it \(resume=True\), give another"):
        run(TextLearner(), stopped_run)
    with pytest.raises(InputError, match="resume needs the folder"):
        run(TextLearner(), None, resume=True)


def latest(folder: Path) -> Path:
    return max(folder.glob("state-*"))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_state_is_detected(stopped_run: Path, name: str, damage: str) -> None:
    path = latest(stopped_run) / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] if damage == "cut" else content[:middle] + b"\x00\xff}" + content[middle + 3 :]
        )
    with pytest.raises(CheckpointError, match="All saved states in .* are damaged: .* start the run again"):
        run(TextLearner(), stopped_run, resume=True)


def test_the_state_before_a_damaged_one_is_used(stopped_run: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = stopped_run / "state-000099"
    damaged.mkdir()
    (damaged / "state.json").write_text("{")
    assert run(TextLearner(), stopped_run, resume=True).step == 10
    assert "looking for the state before it" in caplog.text


def test_a_failed_save_leaves_the_previous_state(stopped_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = latest(stopped_run)
    with monkeypatch.context() as patch:
        patch.setattr("bertie.training.state.write_tensors", full)
        with pytest.raises(CheckpointError, match=r"cannot write .*No space left on device; make room"):
            run(TextLearner(), stopped_run, resume=True, save_every=1)
    assert latest(stopped_run) == before
    assert not list(stopped_run.rglob(".*"))  # no temporary files are left
    assert run(TextLearner(), stopped_run, resume=True).step == 10
    assert [path.name[:5] for path in sorted(stopped_run.iterdir())] == ["best-", "state"]
