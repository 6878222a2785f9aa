"""Two processes with gloo compute what one does."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from learning import TextLearner, weights
from safetensors.torch import load_file

from bertie.errors import InputError
from bertie.training import Settings, is_first, local_device, train, world_size

PROGRAM = Path(__file__).with_name("learning.py")


def started(folder: Path, *arguments: str) -> "list[subprocess.Popen[str]]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), *arguments],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]


def ended(processes: "list[subprocess.Popen[str]]") -> list[tuple[int, str, str]]:
    found = []
    for process in processes:
        output, error = process.communicate(timeout=120)
        found.append((process.returncode, output, error))
    return found


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Twenty examples in steps of 6, 6, 6 and 2; evaluations and the best weights included."""
    processes = started(tmp_path)
    learner = TextLearner()
    settings = Settings(steps=12, batch_size=6, learning_rate=1e-2, evaluate_every=4, seed=3)
    train(learner, settings, evaluate=learner.accuracy, metric="minus_loss")
    results = ended(processes)
    assert [code for code, _, _ in results] == [0, 0], results
    assert [output for _, output, _ in results] == ["12\n", ""]
    found = load_file(tmp_path / "final.safetensors")
    for name, expected in weights(learner).items():
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-8, msg=name)


def test_all_stop_together_and_go_on(tmp_path: Path) -> None:
    processes = started(tmp_path, "--slow", "0.1", "--dropout")
    while not any((tmp_path / "state").glob("state-*")):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)  # to one of them only
    results = ended(processes)
    assert [code for code, _, _ in results] == [143, 143], results
    assert [code for code, _, _ in ended(started(tmp_path, "--resume", "--dropout"))] == [0, 0]
    whole = tmp_path / "whole"
    whole.mkdir()
    ended(started(whole, "--dropout"))
    one, other = (load_file(folder / "final.safetensors") for folder in (tmp_path, whole))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_process_that_dies_is_said(tmp_path: Path) -> None:
    processes = started(tmp_path, "--slow", "0.2")
    while not any((tmp_path / "state").glob("state-*")):
        time.sleep(0.05)
    processes[1].kill()
    code, _, error = ended(processes)[0]
    assert code == 1
    assert "BertieError: Another process of this training run has ended or does not answer" in error


def test_a_damaged_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (world_size(), is_first(), local_device().type) == (1, True, "cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="The environment variable WORLD_SIZE is 'two'"):
        world_size()


def test_a_loss_that_compares_examples_needs_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pair:
        rank, world = 0, 2

    def two(_: Any) -> Any:
        from contextlib import nullcontext

        return nullcontext(Pair())

    monkeypatch.setattr("bertie.training.loop.processes", two)
    with pytest.raises(InputError, match="needs one process; start it without torchrun"):
        train(TextLearner(), Settings(steps=1), divisible=False)
