"""``bertie tag`` and ``bertie answer``: what they write, from arguments and files, and how they fail."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie

Run = Callable[..., Any]
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


def saved(minilm: Path, folder: Path, cls: str, **fields: Any) -> Path:
    """Save a small random model whose answers differ from token to token, and return its folder."""
    torch.manual_seed(0)
    model = getattr(bertie, cls)(bertie.BertConfig(**SIZES, **fields))
    with torch.no_grad():
        (getattr(model, "classifier", None) or model.qa_outputs).weight.mul_(40)
    model.save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(folder)
    return folder


@pytest.fixture
def tagger(minilm: Path, tmp_path: Path) -> Path:
    fields = {"id2label": dict(enumerate(LABELS)), "label2id": {label: number for number, label in enumerate(LABELS)}}
    return saved(minilm, tmp_path / "tagger", "BertForTokenClassification", **fields)


@pytest.fixture
def answerer(minilm: Path, tmp_path: Path) -> Path:
    return saved(minilm, tmp_path / "answerer", "BertForQuestionAnswering")


def test_tag(run: Run, tagger: Path) -> None:
    texts = ["Ada Lovelace lived in Zürich–Genève.", "", "One word after another. " * 40]
    ran = run("tag", "-m", tagger, stdin="\n".join(texts))
    assert ran.code == 0
    assert [record["text"] for record in ran.records] == texts
    expected = bertie.pipeline("ner", tagger, aggregation_strategy="first", windows=True)(texts)
    for record, entities in zip(ran.records, expected, strict=True):
        assert "truncated" not in record
        assert [(one["type"], one["start"]) for one in record["entities"]] == [
            (one["entity_group"], one["start"]) for one in entities
        ]
        for one in record["entities"]:
            assert list(one) == ["type", "text", "start", "end", "score"]
            assert one["text"] == record["text"][one["start"] : one["end"]] != ""
    assert ran.records[1]["empty"] is True
    (cut,) = run("tag", "-m", tagger, "--no-windows", texts[2]).records
    assert cut["truncated"] > 100
    (tokens,) = run("tag", "-m", tagger, "--aggregation", "none", "--scheme", "BIO", texts[0]).records
    assert {one["type"] for one in tokens["entities"]} <= set(LABELS)
    ran = run("tag", "-m", tagger, "--aggregation", "frist", "a")
    assert (ran.code, "Did you mean 'first'?" in ran.err) == (2, True)


def test_what_was_saved_with_a_tagger_is_used(run: Run, tagger: Path) -> None:
    config = json.loads((tagger / "config.json").read_text())
    config["task_specific_params"] = {"token-classification": {"scheme": "BIO", "aggregation_strategy": "average"}}
    (tagger / "config.json").write_text(json.dumps(config))
    text = "Ada Lovelace lived in Zürich and unbelievably far away."
    ours = run("tag", "-m", tagger, text).records[0]["entities"]
    pipe = bertie.pipeline("ner", tagger)
    assert (pipe.codec.scheme, pipe.codec.aggregation_strategy) == ("BIO", "average")
    assert [one["start"] for one in ours] == [one["start"] for one in pipe(text)]


def test_answer(run: Run, answerer: Path, tmp_path: Path) -> None:
    question, context = "Where did she live?", "Ada lived in London. " * 30
    (record,) = run("answer", "-m", answerer, question, context).records
    expected = bertie.pipeline("question-answering", answerer)(question=question, context=context)
    assert record == {"question": question, **expected}
    assert record["answer"] == context[record["start"] : record["end"]]
    path = tmp_path / "context.txt"
    path.write_text(context)
    first, second = run("answer", "-m", answerer, question, "Who?", "--context", path, "-k", 2).records
    assert (first["question"], second["question"]) == (question, "Who?")
    assert first["answers"][0]["answer"] == record["answer"]
    assert len(first["answers"]) == 2
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"q": question, "c": context}) + "\n")
    by_file = run("answer", "-m", answerer, "-i", rows, "--question-column", "q", "--context-column", "c").records
    assert by_file == [record]
    assert run("answer", "-m", answerer, stdin=f"{question}\t{context}\n").records == [record]
    eager = run("answer", "-m", answerer, "--no-answer", "-k", 20, question, "Ada lived in London.").records[0]
    assert "" in [one["answer"] for one in eager["answers"]]


def test_answer_says_what_is_missing(run: Run, answerer: Path, tmp_path: Path) -> None:
    ran = run("answer", "-m", answerer, "Who?", "--context", tmp_path / "none.txt")
    assert (ran.code, "cannot be read" in ran.err) == (2, True)
    ran = run("answer", "-m", answerer, "Who?")
    assert (ran.code, "two by two" in ran.err) == (2, True)
    ran = run("answer", "-m", answerer, "Who?", "")
    assert (ran.code, ran.err) == (2, "bertie: The context of input 0 is empty; give a text.\n")
