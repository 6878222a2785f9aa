"""Several processes with gloo compute the same as one, replicated or sharded."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learning import SETTINGS, TextLearner, weights
from safetensors.torch import load_file
from torch import Tensor

from bertie.errors import CheckpointError, InputError
from bertie.training import History, Settings, Stopped, is_first, local_device, sparse_embeddings, train, world_size
from bertie.training.data_parallel import DataParallel
from bertie.training.distributed import Processes
from bertie.training.grad_accumulation import GradAccumulator

PROGRAM = Path(__file__).with_name("learning.py")
SHARDS = Path(__file__).with_name("sharded_learning.py")
STEPS = 12


def started(folder: Path, *arguments: str, program: Path = PROGRAM, world: int = 2) -> "list[subprocess.Popen[str]]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, str(program), str(folder), *arguments],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(world)
    ]


def ended(processes: "list[subprocess.Popen[str]]") -> list[tuple[int, str, str]]:
    found = []
    for process in processes:
        output, error = process.communicate(timeout=120)
        found.append((process.returncode, output, error))
    return found


def alone(learner: TextLearner, folder: Path | None = None, resume: bool = False) -> History:
    settings = Settings(**SETTINGS, steps=STEPS)
    return train(learner, settings, evaluate=learner.accuracy, metric="minus_loss", folder=folder, resume=resume)


@pytest.fixture(scope="module")
def one_process() -> dict[str, Tensor]:
    learner = TextLearner(19)
    alone(learner)
    return weights(learner)


def same(path: Path, expected: dict[str, Tensor]) -> None:
    found = load_file(path)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-8, msg=f"{path.name}: {name}")


def test_two_processes_are_one(tmp_path: Path, one_process: dict[str, Tensor]) -> None:
    """Including steps in which one has no examples, an unused layer, evaluations and the best weights."""
    results = ended(started(tmp_path))
    assert [code for code, _, _ in results] == [0, 0], results
    assert [output for _, output, _ in results] == ["12\n", ""]
    same(tmp_path / "final.safetensors", one_process)


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_shards_are_one_model(
    tmp_path: Path, one_process: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    """Also after a stop, and when one process or replicas resume from shards, or shards from one process's state."""
    stopped = TextLearner(19)
    stopped.stop_at, stopped.stop_with = 9, signal.SIGTERM
    monkeypatch.setattr(sparse_embeddings, "MIN_ROWS", 8)  # a state with moments of some rows of a table
    with pytest.raises(Stopped):
        alone(stopped, tmp_path / "one")
    results = ended(started(tmp_path, program=SHARDS, world=world))
    assert [code for code, _, _ in results] == [0] * world, results
    for name in ("shards", "one", "replicas", "checkpointed"):
        same(tmp_path / f"{name}.safetensors", one_process)
    damaged = shutil.copytree(tmp_path / "copied", tmp_path / "damaged")
    shard = next(damaged.glob("state-*/shard-00001.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    with pytest.raises(
        CheckpointError, match=r"All saved states in .* are damaged: .* is damaged \(shard-00001.safetensors\)"
    ):
        alone(TextLearner(19), damaged, resume=True)
    learner = TextLearner(19)
    history = alone(learner, tmp_path / "copied", resume=True)
    assert f"continues with 1 process instead of {world}" in history.warnings[0]
    for name, tensor in weights(learner).items():
        torch.testing.assert_close(tensor, one_process[name], rtol=0, atol=1e-8, msg=name)


@pytest.mark.slow
def test_four_processes_are_one(tmp_path: Path, one_process: dict[str, Tensor]) -> None:
    assert [code for code, _, _ in ended(started(tmp_path, world=4))] == [0] * 4
    same(tmp_path / "final.safetensors", one_process)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--shard",)])
def test_torchrun_starts_all_again_when_one_is_killed(
    tmp_path: Path, one_process: dict[str, Tensor], more: tuple[str, ...]
) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    done = subprocess.run(
        [*launcher, str(PROGRAM), str(tmp_path), "--resume", "--kill-at", "7", *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "SIGKILL" in done.stderr or "exitcode: -9" in done.stderr, done.stderr
    same(tmp_path / "final.safetensors", one_process)


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


def test_a_dead_process_is_reported(tmp_path: Path) -> None:
    processes = started(tmp_path, "--slow", "0.2")
    while not any((tmp_path / "state").glob("state-*")):
        time.sleep(0.05)
    processes[1].kill()
    code, _, error = ended(processes)[0]
    assert code == 1
    assert "BertieError: Another process of this training run has ended or does not respond" in error


def test_a_process_without_examples_adds_as_many_terms_as_the_others() -> None:
    learner = TextLearner()
    plain = learner.loss
    learner.loss = lambda examples: torch.stack([plain(examples)] * 2)  # type: ignore[method-assign]
    gradients = GradAccumulator(DataParallel(learner.model, Processes(1, 2, None)), 100, "fp32", whole=False)
    gradients.set_learner(learner, np.array(learner.sizes))
    found = gradients.compute(np.array([3]), {"one": 1.0, "other": 1.0}, 0, torch.device("cpu"))
    torch.testing.assert_close(found, torch.zeros(2, dtype=torch.float64))


def test_a_damaged_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (world_size(), is_first(), local_device().type) == (1, True, "cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(InputError, match="The environment variable WORLD_SIZE is 'two'"):
        world_size()


def test_a_loss_that_compares_examples_needs_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pair:
        rank, world = 0, 2

    def two(_: Any) -> Any:

        return nullcontext(Pair())

    monkeypatch.setattr("bertie.training.loop.processes", two)
    with pytest.raises(InputError, match="needs one process; start it without torchrun"):
        train(TextLearner(), Settings(steps=1), divisible=False)
