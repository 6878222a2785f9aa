"""The table of engines: who is chosen, who cannot run and why; what peers share; converted models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertie.errors import InputError
from comparison import machine
from comparison.engines import table
from comparison.engines.converting import once
from comparison.engines.padded import batches, padded, runner
from comparison.engines.table import ENGINES, chosen, find
from comparison.job import Job
from comparison.workload import Workload

WORK = Workload("embed", "vectors", "embed", "throughput", "folder", ("a", "b c"), max_length=8, tokens=7)


def test_engines_are_chosen_by_name_or_pattern() -> None:
    assert [one.name for one in chosen(["bertie"])] == ["bertie"]
    assert [one.name for one in chosen(["bertie*", " TRANSFORMERS "])] == [
        "transformers",
        "bertie",
        "bertie bf16",
        "bertie int8",
    ]
    assert chosen([]) == ENGINES
    with pytest.raises(InputError, match="no engine 'bertje'.*Did you mean 'bertie'"):
        chosen(["bertje"])


def test_an_engine_says_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = find("CTranslate2 fp32")
    installed = {"torch", "transformers"}
    monkeypatch.setattr(table, "_is_installed", lambda name: name in installed)
    assert engine.why_not(WORK, "cpu") == "ctranslate2 is not installed."
    installed.add("ctranslate2")
    assert engine.why_not(WORK, "cpu") == ""
    assert engine.why_not(WORK, "cuda") == "Measured on the CPU only."
    assert engine.why_not(replace(WORK, task="train"), "cpu") == "Does not train."
    assert "asks for max pooling" in engine.why_not(replace(WORK, pooling="max pooling"), "cpu")
    monkeypatch.setattr(machine.cpu, "cpuinfo", lambda: "flags : avx2")
    installed.add("bertie")
    assert find("bertie bf16").why_not(WORK, "cpu") == "This chip does not multiply bf16 by itself."
    assert find("bertie bf16").why_not(WORK, "cuda") == ""
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "C++ compiler" in find("transformers compiled").why_not(WORK, "cpu")


def test_every_engine_names_a_file_of_its_own() -> None:
    folder = Path(table.__file__).parent
    for engine in ENGINES:
        for where in filter(None, (engine.opens, engine.converts)):
            module, name = where.split(":")
            assert f"def {name}(" in (folder / f"{module}.py").read_text(encoding="utf-8")


def test_a_workload_is_checked() -> None:
    with pytest.raises(InputError, match="task is 'sing'; allowed are embed"):
        replace(WORK, task="sing")
    with pytest.raises(InputError, match="no texts"):
        replace(WORK, texts=())
    with pytest.raises(InputError, match="rounds is 0"):
        replace(WORK, rounds=0)
    assert WORK.bytes == 4


def test_a_job_comes_back_from_its_file(tmp_path: Path) -> None:
    job = Job(WORK, "bertie", 2, "cpu", str(tmp_path), "bertie 0.1")
    job.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job
    # another version, or another length of texts, is another converted model
    folders = {
        job.converted,
        replace(job, versions="2").converted,
        replace(job, workload=replace(WORK, max_length=9)).converted,
    }
    assert len(folders) == 3


def test_peers_get_sorted_batches_and_give_answers_in_order() -> None:
    rows = {"a": [1], "bb": [1, 2], "ccc": [1, 2, 3]}
    assert list(batches(list(rows.values()), 2, "sorted")) == [[2, 1], [0]]
    assert list(batches(list(rows.values()), 2, "given")) == [[0, 1], [2]]
    ids, mask = padded([[5, 6], [7]])
    assert (ids.tolist(), mask.tolist()) == ([[5, 6], [7, 0]], [[1, 1], [1, 0]])
    run = runner(lambda texts: [rows[text] for text in texts], lambda ids, mask: mask.sum(1, keepdims=True), 2)
    np.testing.assert_array_equal(run(["a", "ccc", "bb"]), [[1], [3], [2]])


def test_a_model_is_converted_once_and_never_half(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "model"

    def fail(temporary: Path) -> None:
        (temporary / "half").touch()
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError):
        once(folder, fail)
    assert list(folder.parent.iterdir()) == []
    once(folder, lambda temporary: (temporary / "whole").touch())
    once(folder, fail)
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert list(folder.parent.iterdir()) == [folder]


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "vendor_id : AuthenticAMD\ncpu family : 26\nflags : fpu avx2 avx512f avx512_vnni avx512_bf16\n"
    monkeypatch.setattr(machine.cpu, "cpuinfo", lambda: text)
    assert machine.describe().startswith("AMD Zen 5 (AVX-512 bf16, AVX-512 VNNI, AVX-512), ")
    assert machine.has_bf16("cpu")
    monkeypatch.setattr(machine.cpu, "cpuinfo", lambda: "")
    assert not machine.has_bf16("cpu")
    assert "core" in machine.describe()


def test_what_other_programs_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/stat": "cpu 100 0 20 500 5 0 0 0 0 0\ncpu0 1", "/proc/7/stat": "7 (a b) S " + "0 " * 10 + "50 5 0"}
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path, ""))
    load = machine.Load()
    with load.beside(7):
        # 100 ticks pass: 60 by the worker, 15 by others, 25 idle
        files["/proc/stat"] = "cpu 170 0 25 520 10 0 0 0 0 0\ncpu0 1"
        files["/proc/7/stat"] = "7 (a b) S " + "0 " * 10 + "105 10 0"
    assert load.share == pytest.approx(0.15)
    files.clear()
    with machine.Load().beside(7):
        pass
