"""``bertie bench``: a model and texts in every available way, and errors in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie

Run = Callable[..., Any]
TEXTS = "A cat sat on the mat.\n\nStocks fell.\nIt rained all day long.\n"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.bench.compare.PAUSE", 0)


@pytest.fixture
def classifier(minilm: Path, tmp_path: Path) -> Path:
    """A small random classifier of three labels, with a real vocabulary."""
    torch.manual_seed(0)
    config = bertie.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, num_labels=3
    )
    bertie.BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_figures_and_a_table(run: Run, classifier: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(TEXTS)
    output = tmp_path / "figures.json"
    given = ("--model", classifier, "--input", tmp_path / "texts.txt", "--output", output)
    ran = run("bench", *given, "--rounds", 1, "--threads", 1, "--max-length", 8)
    assert ran.code == 0, ran.err
    assert "classify: 3 texts, 1 round, 1 thread\n" in ran.err
    written = json.loads(output.read_text())
    assert written["texts"] == 3
    transformers, ours, int8 = written["figures"]
    assert [one["way"] for one in written["figures"]] == ["transformers", "bertie", "bertie int8"]
    for one in (transformers, ours, int8):
        assert one["problem"] == ""
        assert [len(one[name]) for name in ("start", "all", "alone")] == [1, 1, 3]
        assert one["peak"] > 10_000_000
        assert f"| {one['way']} | " in ran.out
    assert ours["cosine"] == pytest.approx(1, abs=1e-6)
    assert int8["cosine"] > 0.9


def test_no_texts_are_refused(run: Run) -> None:
    assert run("bench", stdin="\n\n").err == (
        "bertie: There is no text to run; give a file with --input, or texts on standard input.\n"
    )
