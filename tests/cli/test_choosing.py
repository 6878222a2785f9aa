"""The commands choose and rerank: arguments, files and standard input, and how they fail."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie

Run = Callable[..., Any]
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
QUESTION = {"prompt": "The dog", "choices": ["barked.", "meowed at the moon.", "fell in price."]}


def save(name: str, minilm: Path, folder: Path, **config: Any) -> Path:
    torch.manual_seed(0)
    getattr(bertie, name)(bertie.BertConfig(**SMALL, **config)).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


@pytest.fixture
def chooser(minilm: Path, tmp_path: Path) -> Path:
    return save("BertForMultipleChoice", minilm, tmp_path / "chooser")


@pytest.fixture
def reranker(minilm: Path, tmp_path: Path) -> Path:
    return save("BertForSequenceClassification", minilm, tmp_path / "reranker", num_labels=1, initializer_range=0.5)


def test_choose(run: Run, chooser: Path, tmp_path: Path) -> None:
    (record,) = run("choose", "-m", chooser, QUESTION["prompt"], *QUESTION["choices"]).records
    assert list(record) == ["prompt", "choices", "choice", "text", "score"]
    assert {name: record[name] for name in QUESTION} == QUESTION
    expected = bertie.pipeline("multiple-choice", chooser)(QUESTION)
    assert (record["choice"], record["text"]) == (expected["choice"], expected["text"])
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps(QUESTION) + "\n" + json.dumps({**QUESTION, "prompt": "The cat"}) + "\n")
    first, second = run("choose", "-m", chooser, "--input", path).records
    assert first == {**record, "score": pytest.approx(record["score"])}
    assert second["prompt"] == "The cat"
    assert run("choose", "-m", chooser, stdin=path.read_text()).records == [first, second]
    table = tmp_path / "questions.csv"
    table.write_text("prompt,choice1,choice2,choice3\nThe dog,barked.,meowed at the moon.,fell in price.\n")
    (row,) = run("choose", "-m", chooser, "-i", table, "--top-k", 2).records
    assert row["best"][0]["choice"] == record["choice"]
    assert len(row["best"]) == 2


def test_rerank(run: Run, reranker: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("The cat sleeps.\n\nStocks fell.\nIt rained all day.\n")
    records = run("rerank", path, "bad weather", "-m", reranker).records
    assert [record["rank"] for record in records] == [1, 2, 3]
    assert sorted(record["line"] for record in records) == [1, 3, 4]
    assert list(records[0]) == ["query", "rank", "score", "line", "text"]
    passages = ["The cat sleeps.", "Stocks fell.", "It rained all day."]
    expected = bertie.pipeline("reranking", reranker)("bad weather", passages)
    assert [record["text"] for record in records] == [one["text"] for one in expected]
    assert [record["score"] for record in records] == pytest.approx([one["score"] for one in expected], abs=1e-6)
    several = run("rerank", path, "-m", reranker, "-k", 1, stdin="bad weather\nshare prices\n").records
    assert [(record["query"], record["rank"]) for record in several] == [("bad weather", 1), ("share prices", 1)]


def test_mistakes_are_one_sentence(run: Run, chooser: Path, reranker: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a", "choices": ["b"]}\n')
    for arguments, message in (
        (["choose", "-m", chooser, "a prompt", "a choice"], "Give a prompt and at least two choices"),
        (["choose", "-m", chooser, "a", "b", "c", "-i", bad], "not both"),
        (["choose", "-m", chooser, "-i", bad], f"There is 1 choice in {bad}, line 1"),
        (["choose", "a", "b", "c"], "'multiple-choice' has no default model"),
        (["rerank", empty, "a", "-m", reranker], "has no passage to rank"),
    ):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (2, "")
        assert message in ran.err


def test_csv(run: Run, chooser: Path, reranker: Path, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("The cat sleeps.\nStocks fell.\n")
    head, *rows = run("rerank", path, "bad weather", "-m", reranker, "--to", "csv").out.splitlines()
    assert head.startswith("query,rank,score,line,text")
    assert [row.split(",")[1] for row in rows] == ["1", "2"]
    out = run("choose", "-m", chooser, "The dog", "barked.", "fell.", "--to", "csv").out
    assert out.splitlines()[0].startswith("prompt,choices,choice,text,score")
