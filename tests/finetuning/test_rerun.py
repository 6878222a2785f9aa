"""``run.json`` has all that a run was made from, and repeats it to the same weights."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from films import write_start

import bertie
from bertie.errors import InputError
from bertie.finetuning import arguments_of


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), num_hidden_layers=1)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [(f"a {'good' if number % 2 else 'bad'} film {number}", str(number % 2)) for number in range(50)]
        csv.writer(file).writerows([("Body", "Kind"), *rows])
    return path


def finetuned(start: Path, table: Path, out: Path, **more: Any) -> Any:
    columns = {"text": "Body", "label": "Kind"}
    options = {"model": start, "columns": columns, "epochs": 1, "batch_size": 8, "show_progress": False}
    return bertie.finetune("classification", [table], out=out, **options, **more)


def weights_of(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_is_repeated(start: Path, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = {
        "test": 0,
        "dev": 0.2,
        "max_length": 20,
        "form": bertie.data.Format("csv", ","),
        "label_map": {"1": "good"},
    }
    first = finetuned(start, table, tmp_path / "first", settings=bertie.Settings(layer_decay=0.9), **given)
    kept = json.loads((tmp_path / "first" / "run.json").read_text())
    assert kept["data"]["files"] == {str(table): hashlib.sha256(table.read_bytes()).hexdigest()}
    assert f"torch {torch.__version__.partition('+')[0]}" in kept["machine"]["packages"]
    again = bertie.finetune(**arguments_of(tmp_path / "first"), out=tmp_path / "again", show_progress=False)
    assert again is not None
    assert weights_of(tmp_path / "again") == weights_of(tmp_path / "first")
    assert again.history.settings == first.history.settings
    assert json.loads((tmp_path / "again" / "run.json").read_text())["data"] == kept["data"]
    assert "no longer" not in caplog.text
    table.write_text(table.read_text() + "another good film,1\n")
    arguments_of(tmp_path / "first" / "run.json")
    assert f"{table} has changed since that run." in caplog.messages


def test_several_seeds_are_repeated(start: Path, table: Path, tmp_path: Path) -> None:
    finetuned(start, table, tmp_path / "seeds", seed=[3, 5])
    assert arguments_of(tmp_path / "seeds")["seed"] == [3, 5]
    again = bertie.finetune(**arguments_of(tmp_path / "seeds"), out=tmp_path / "again", show_progress=False)
    assert again is not None
    assert weights_of(tmp_path / "again" / "seed-5") == weights_of(tmp_path / "seeds" / "seed-5")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"train": "a.csv", "settings": {}}, "is not from a fine-tuning"),
        ({"task": "classification", "train": "a.csv", "settings": {"speed": 3}}, "lacks: speed"),
    ],
)
def test_other_files_are_refused(content: dict[str, Any], why: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=why):
        arguments_of(tmp_path)


def test_a_run_with_the_old_names_of_dev_and_test(tmp_path: Path) -> None:
    older = {"task": "text-classification", "train": "a.csv", "dev": "scored.csv", "tune": 0.2, "tensorboard": True}
    (tmp_path / "run.json").write_text(json.dumps({**older, "settings": {"seed": 3}}))
    found = arguments_of(tmp_path)
    assert (found["dev"], found["test"], found["report_to"]) == (0.2, "scored.csv", "tensorboard")
    assert "tune" not in found
