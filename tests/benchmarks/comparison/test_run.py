"""Comparisons in real worker processes, with a tiny model; and, with pretended ones, engines that do not do well."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import bertie
from bertie.errors import BertieError, InputError
from comparison.engines.table import Engine, chosen
from comparison.job import Job
from comparison.own import own_workload
from comparison.process import WorkerProcess
from comparison.run import compare
from comparison.workload import Workload

TEXTS = ("A cat sat on the mat.", "Stocks fell.", "The kitten slept all day long, and then some more.", "Rain.")
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture(scope="module")
def tiny(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with a real vocabulary; the head for masked words is there too."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    bertie.BertForMaskedLM(bertie.BertConfig(**TINY)).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


@pytest.fixture
def work(tiny: Path) -> Workload:
    return own_workload(tiny, TEXTS, rounds=2, max_length=16)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("comparison.run.PAUSE", 0)
    return


def test_bertie_and_transformers_side_by_side(work: Workload, tmp_path: Path) -> None:
    told: list[str] = []
    found = compare(
        work, chosen(["transformers sorted", "bertie", "tokenizers"]), threads=1, cache=tmp_path, tell=told.append
    )
    theirs, _, ours = found.figures
    assert (found.reference, found.texts, found.threads) == ("transformers sorted", 4, 1)
    for one in (theirs, ours):
        assert one.skipped == ""
        assert len(one.seconds) == 2
        assert one.check is not None
        assert one.check.difference < 1e-5
    # answers of bertie do without PyTorch
    assert theirs.has_torch
    assert found.own_bytes(theirs) > 0
    assert not ours.has_torch
    assert 0 < ours.peak < theirs.peak
    assert found.figures[1].skipped == "Makes no vectors."
    assert told[0] == "embed: the right answers, by transformers sorted"


@pytest.mark.slow
def test_training_and_starts(work: Workload, tmp_path: Path) -> None:
    ours = chosen(["bertie"])
    trained = compare(replace(work, task="train", texts=TEXTS * 2, batch_size=4), ours, threads=1, cache=tmp_path)
    # three steps have the same losses as transformers' three
    assert trained.figures[0].check.difference < 1e-4
    assert trained.figures[0].skipped == ""
    started = compare(replace(work, measure="start", rounds=1), ours, threads=1, cache=tmp_path)
    assert len(started.figures[0].seconds) == 1
    assert started.figures[0].peak > 0


def test_ids_of_all_tokenizers_are_equal(work: Workload, tmp_path: Path) -> None:
    engines = chosen(["tokenizers", "bertie"])
    found = compare(replace(work, task="tokenize", one_thread=True), engines, cache=tmp_path)
    assert [one.skipped for one in found.figures] == ["", ""]
    assert found.threads == 1


class Pretended:
    """A worker that answers as its engine's name says."""

    log: ClassVar[list[tuple[str, str]]] = []

    pid = 0

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.answers_path = job, folder / "answers.npy"

    def ask(self, command: str, *arguments: str) -> Any:
        self.log.append((self.job.engine, command))
        if command == {"sentence-transformers": "answers", "OpenVINO fp32": "round"}.get(self.job.engine):
            raise BertieError("It failed: no reason.")
        if command == "answers":
            np.save(arguments[0], np.eye(2) * (-1 if self.job.engine == "OpenVINO int8" else 1))
        return {"round": [1.0], "memory": (1000, 0, True)}.get(command)

    def close(self) -> None:
        self.log.append((self.job.engine, "close"))


def test_one_that_fails_or_answers_otherwise_is_not_timed(
    work: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comparison.run.WorkerProcess", Pretended)
    monkeypatch.setattr("comparison.run.torch_memory", lambda _: 0)
    monkeypatch.setattr("comparison.engines.table._is_installed", lambda _: True)
    monkeypatch.setattr(Engine, "versions", "1")
    names = ["transformers", "sentence-transformers", "OpenVINO fp32", "OpenVINO int8", "bertie"]
    found = compare(work, chosen(names), threads=1, cache=tmp_path)
    problem = "Its answers have a mean cosine of -1.000 to fp32; below 0.9 nothing is timed."
    failed = "It failed: no reason."
    assert [one.skipped for one in found.figures] == ["", failed, failed, problem, ""]
    assert [len(one.seconds) for one in found.figures] == [2, 0, 0, 0, 2]
    # who cannot be timed leaves at once, the others take turns
    rounds = [engine for engine, command in Pretended.log if command == "round"]
    assert rounds == ["transformers", "OpenVINO fp32", "bertie", "transformers", "bertie"]
    assert Pretended.log.index(("OpenVINO int8", "close")) < Pretended.log.index(("transformers", "round"))
    assert ("OpenVINO fp32", "convert") in Pretended.log


def test_a_dead_worker_is_one_sentence(work: Workload, tmp_path: Path) -> None:
    worker = WorkerProcess(Job(work, "no such engine", 1, "cpu", str(tmp_path)), tmp_path)
    with pytest.raises(BertieError, match="Its process died: .*no such engine"):
        worker.ask("round")
    worker.close()


@pytest.mark.skipif(os.name != "posix", reason="processes are stopped by a signal")
def test_a_worker_that_hangs_is_ended(work: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comparison.process.PATIENCE", 0.2)
    worker = WorkerProcess(Job(work, "bertie", 1, "cpu", str(tmp_path)), tmp_path)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(BertieError, match="no answer for 0.2 seconds"):
        worker.ask("round")
    worker.close()


def test_a_workload_of_ones_own(minilm: Path, tiny: Path) -> None:
    work = own_workload(minilm, [f"text {number}" for number in range(50)], most=10)
    assert (work.task, work.pooling, work.normalize, work.max_length) == ("embed", "mean", True, 256)
    assert len(work.texts) == 10
    assert work.tokens == 40
    plain = own_workload(tiny, TEXTS)
    assert (plain.normalize, plain.max_length) == (False, 512)
    with pytest.raises(InputError, match="bench compares embed and classify"):
        own_workload(tiny, TEXTS, task="sing")
    with pytest.raises(InputError, match="at least one is needed"):
        own_workload(tiny, [])
