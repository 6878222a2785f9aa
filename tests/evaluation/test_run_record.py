"""Rows that a model learned from are no test of it: whoever scores it on their file is told."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bertie.evaluation.run_record import warnings_of_learned


@pytest.mark.parametrize("test", ["tests/new.csv", ["tests/new.csv"], "tests", "tests/*.csv"])
def test_files_that_a_model_learned_from_are_named(test: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    files = {"train.csv": b"text,label\na,b\n", "dev.csv": b"text,label\nc,d\n", "tests/new.csv": b"text,label\ne,f\n"}
    for name, content in files.items():
        Path(name).write_bytes(content)
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    Path("run.json").write_text(json.dumps({"train": "train.csv", "test": test, "data": {"files": digests}}))
    Path("copy.csv").write_bytes(files["dev.csv"])
    said = "{} is a file that '.' learned from or was chosen by: on other rows it will be worse."
    assert warnings_of_learned(["train.csv", "tests/new.csv", "copy.csv"], ".") == [
        said.format("train.csv"),
        said.format("copy.csv"),
    ]


def test_of_rows_that_are_no_file_and_models_that_are_no_run_nothing_is_said(tmp_path: Path) -> None:
    data = tmp_path / "train.csv"
    data.write_text("text,label\na,b\n", encoding="utf-8")
    assert warnings_of_learned(str(data), tmp_path) == []
    (tmp_path / "run.json").write_text('{"data": "data"}', encoding="utf-8")  # as a pretraining writes it
    assert warnings_of_learned(str(data), tmp_path) == []
    (tmp_path / "run.json").write_text('{"data": {"files": {"x": "1"}}}', encoding="utf-8")
    assert warnings_of_learned([{"text": "a"}], tmp_path) == []
    assert warnings_of_learned(str(data), object()) == []
