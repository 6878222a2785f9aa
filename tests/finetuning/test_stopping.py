"""A fine-tuning that is stopped anywhere is resumed to the same weights; only one process may use its folder."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from films import write_start
from operations import each_operation
from tiny_run import TRAIN, finetune, same_weights

import bertie
from bertie.errors import InputError, Stopped
from bertie.locking import only_process_in
from bertie.training import drawing


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"))


@pytest.fixture(autouse=True)
def nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "why_no_plots", lambda: "it takes long")


def content(folder: Path) -> dict[str, str]:
    """Return the contents of the files, without leftovers, and without the log, whose times differ."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "metrics.jsonl")
    kept = {str(path.relative_to(folder)): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in kept.items()
        if not re.search(r"\.tmp|\.lock", name)
    }


def states_of_a_run(start: Path, out: Path) -> Iterator[Path]:
    """Yield copies of a run's folder as it was before each file operation: what a killed process would leave."""
    copies: list[Path] = []

    def copy() -> None:
        copies.append(shutil.copytree(out, out.with_name(f"{out.name}-{len(copies):04}")) if out.exists() else out)

    with each_operation(out, copy):
        finetune(start, out)
    yield from (each for each in copies if each != out)


def test_a_process_killed_before_any_file_operation(start: Path, tmp_path: Path) -> None:
    run, seen = tmp_path / "run", set()
    for folder in states_of_a_run(start, run):
        state = frozenset(content(folder).items())
        if state in seen or (folder / "report.md").exists():  # the report comes last
            continue
        seen.add(state)
        finetune(start, folder)
        same_weights(folder, run)
        assert content(folder).keys() == content(run).keys()
        assert not list(folder.rglob(".*"))
    assert len(seen) > 12


@pytest.mark.parametrize("code", [130, 143])
def test_a_run_stopped_during_scoring(start: Path, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt if code == 130 else Stopped("", 15)

    finetune(start, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("bertie.finetuning.run.score", stop)
        with pytest.raises(Stopped, match=r"^The run was stopped; resume=True continues from '.*cut'\.$") as stopped:
            finetune(start, tmp_path / "cut")
    assert stopped.value.exit_code == code
    finetune(start, tmp_path / "cut")
    same_weights(tmp_path / "cut", tmp_path / "whole")


def test_a_second_process_is_refused(start: Path, tmp_path: Path) -> None:
    with only_process_in(tmp_path / "run"), pytest.raises(InputError, match="Another process is at work in '.*run'"):
        finetune(start, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    finetune(start, tmp_path / "run")
    assert not (tmp_path / "run" / ".lock").exists()


def test_other_content_is_refused_and_left_alone(start: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".run.json.0123456789ab.tmp").touch()  # another command may be writing it
    with pytest.raises(InputError, match="holds no run of bertie"):
        finetune(start, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", ".run.json.0123456789ab.tmp"}


def stopped(start: Path, out: Path, **more: Any) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bertie.finetuning.run.score", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finetune(start, out, **more)
    return out


@pytest.fixture(scope="module")
def cut(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped."""
    return stopped(start, tmp_path_factory.mktemp("cut") / "run")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"train": [{**row, "text": row["text"] + " plot"} for row in TRAIN]}, "the rows to learn from differ"),
        ({"metric": "f1_macro"}, "metric was 'accuracy' and is now 'f1_macro'"),
        ({"max_length": 5}, "max_length was None and is now 5"),
        ({"settings": {"seed": 1}}, "seed was 0 and is now 1"),
    ],
)
def test_differences_are_named_and_the_plan_is_kept(
    start: Path, cut: Path, changed: dict[str, Any], sentence: str
) -> None:
    before = content(cut)
    with pytest.raises(InputError, match=r"cannot be resumed: .*; give what it was started with") as refusal:
        finetune(start, cut, **changed)
    assert sentence in str(refusal.value)
    assert "sha256" not in str(refusal.value)
    assert content(cut) == before


def test_other_rows_of_dev_are_refused(start: Path, tmp_path: Path) -> None:
    stopped(start, tmp_path / "run", dev=TRAIN[:4])
    with pytest.raises(InputError, match="the rows of dev differ"):
        finetune(start, tmp_path / "run", dev=TRAIN[2:6])


@pytest.mark.parametrize("lora", [None, 2])
def test_another_model_of_the_same_shapes_is_refused(start: Path, tmp_path: Path, lora: int | None) -> None:
    other = bertie.BertModel.from_pretrained(start)
    with torch.no_grad():
        other.encoder.layer[0].output.dense.weight.add_(0.01)
    other.save_pretrained(shutil.copytree(start, tmp_path / "other"))
    stopped(start, tmp_path / "run", lora=lora)
    with pytest.raises(InputError, match="the (weights to start from|values of parameters that do not learn) differ"):
        finetune(tmp_path / "other", tmp_path / "run", lora=lora)
