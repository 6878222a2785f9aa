"""The scripts in examples/ run as they are and say what they promise."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bertie

EXAMPLES = Path(__file__).parents[1] / "examples"
Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs an example with arguments and gives what it printed."""

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_every_example_is_run_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tested] == []


def test_search_by_meaning(run: Run) -> None:
    out = run("search_by_meaning.py")
    assert "array of shape (5, 384)" in out
    for answer in ("invoice", "boiler", "dentist"):
        assert answer in out


def test_fill_mask(run: Run, mini: Path) -> None:
    out = run("fill_mask.py", mini)
    assert "door" in out
    assert "tea" in out


def test_classify(run: Run, mini: Path, tmp_path: Path) -> None:
    labels = {0: "bad", 1: "good"}
    bertie.BertForSequenceClassification.from_pretrained(mini, id2label=labels).save_pretrained(tmp_path)
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path)
    lines = run("classify.py", tmp_path).splitlines()
    assert [line.split()[0] in ("bad", "good") for line in lines] == [True] * 3
    assert lines[2].endswith("(490 tokens did not fit and were cut off)")


def test_from_transformers(run: Run, mini: Path) -> None:
    padded, packed, count = run("from_transformers.py", mini).splitlines()
    assert padded.removeprefix("padded:") == packed.removeprefix("packed:")
    assert "table" in padded
    assert count == "27 tokens instead of 36 cells"
