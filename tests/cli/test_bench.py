"""``bertie bench``: bertie on someone's own model and texts, with figures in files, and mistakes in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from comparison.results import read_results

Run = Callable[..., Any]


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
    texts = tmp_path / "texts.txt"
    texts.write_text("A cat sat on the mat.\n\nStocks fell.\nIt rained all day long.\n")
    output = tmp_path / "figures.json"
    given = ("--model", classifier, "--input", texts, "--output", output, "--cache", tmp_path / "cache")
    ran = run("bench", *given, "--engines", "bertie,tokenizers", "--rounds", 2, "--threads", 1)
    assert ran.code == 0, ran.err
    assert "## classify: model, labels of your texts" in ran.out
    assert "| **bertie** " in ran.out
    assert "- tokenizers: Does not classify." in ran.out
    assert "round 2 of 2" in ran.err
    (found,) = read_results(output)
    assert (found.texts, found.rounds, found.threads) == (3, 2, 1)
    assert found.figures[-1].check is not None
    assert found.figures[-1].check.difference < 1e-5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--engines", "bertje"), "There is no engine 'bertje'"),
        (("--task", "sing"), "The task is 'sing'; bench compares embed and classify."),
        (("--measure", "length"), "measure is 'length'; allowed are throughput, latency, start."),
    ],
)
def test_mistakes_are_one_sentence(run: Run, minilm: Path, arguments: tuple[str, str], sentence: str) -> None:
    ran = run("bench", "--model", minilm, *arguments, stdin="one text\n")
    assert ran.code == 2
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_no_texts_are_refused(run: Run) -> None:
    assert run("bench", stdin="\n\n").err == (
        "bertie: There is no text to run; give a file with --input, or texts on standard input.\n"
    )
