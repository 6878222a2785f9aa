"""Scoring a model on a file it was trained on or selected by gives a warning."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bertie.evaluation.run_record import leakage_warnings


@pytest.mark.parametrize("test", ["tests/new.csv", ["tests/new.csv"], "tests", "tests/*.csv"])
def test_files_that_a_model_was_trained_on_are_named(
    test: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    files = {"train.csv": b"text,label\na,b\n", "dev.csv": b"text,label\nc,d\n", "tests/new.csv": b"text,label\ne,f\n"}
    for name, content in files.items():
        Path(name).write_bytes(content)
    digests = {name: sha256(content).hexdigest() for name, content in files.items()}
    Path("run.json").write_text(json.dumps({"train": "train.csv", "test": test, "data": {"files": digests}}))
    Path("copy.csv").write_bytes(files["dev.csv"])
    warning = "'.' was trained on {} or selected by it: on other rows it will be worse."
    assert leakage_warnings(["train.csv", "tests/new.csv", "copy.csv"], ".") == [
        warning.format("train.csv"),
        warning.format("copy.csv"),
    ]


def test_nothing_is_warned_of_without_files_or_without_a_run(tmp_path: Path) -> None:
    data = tmp_path / "train.csv"
    data.write_text("text,label\na,b\n", encoding="utf-8")
    assert leakage_warnings(str(data), tmp_path) == []
    (tmp_path / "run.json").write_text('{"data": "data"}', encoding="utf-8")  # as pretraining writes it
    assert leakage_warnings(str(data), tmp_path) == []
    (tmp_path / "run.json").write_text('{"data": {"files": {"x": "1"}}}', encoding="utf-8")
    assert leakage_warnings([{"text": "a"}], tmp_path) == []
    assert leakage_warnings(str(data), object()) == []
