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
    """Save a small random model whose outputs vary between tokens, and return its folder."""
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


def test_saved_options_of_a_tagger_are_used(run: Run, tagger: Path) -> None:
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
    by_file = run("answer", "-m", answerer, "-i", rows, "--column", "question=q", "--column", "context=c").records
    assert by_file == [{"q": question, "c": context, **expected}]
    assert run("answer", "-m", answerer, stdin=f"{question}\t{context}\n").records == [record]
    eager = run("answer", "-m", answerer, "--no-answer", "-k", 20, question, "Ada lived in London.").records[0]
    assert "" in [one["answer"] for one in eager["answers"]]


def test_questions_keep_their_ids(run: Run, answerer: Path, tmp_path: Path) -> None:
    context = "Ada lived in London. "
    gold = {"answers": [{"text": "London", "answer_start": 13}], "is_impossible": False}
    asked = [{"id": f"q{number}", "question": question, **gold} for number, question in enumerate(["Where?", "Who?"])]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "Ada", "paragraphs": [{"context": context, "qas": asked}]}]}))
    ran = run("answer", "-m", answerer, "-i", path)
    pipe = bertie.pipeline("question-answering", answerer)
    for record, one in zip(ran.records, asked, strict=True):
        expected = pipe(question=one["question"], context=context)
        assert record == {
            "title": "Ada",
            "context": context,
            **one,
            **expected,
            "score": pytest.approx(expected["score"]),
        }
    by_id = json.loads(run("answer", "-m", answerer, "-i", path, "--to", "squad").out)
    assert by_id == {record["id"]: record["answer"] for record in ran.records}
    first = run("answer", "-m", answerer, "-i", path, "-k", 2).records[0]
    assert first["input_answers"] == gold["answers"]
    assert first["answers"][0]["answer"] == ran.records[0]["answer"]
    assert json.loads(run("answer", "-m", answerer, "-i", path, "-k", 2, "--to", "squad").out) == by_id
    ran = run("answer", "-m", answerer, "Who?", context, "--to", "squad")
    assert (ran.code, ran.err) == (2, "bertie: --to squad needs an 'id' for each question.\n")
    (tmp_path / "twice.jsonl").write_text(2 * (json.dumps({"id": 1, "question": "Who?", "context": context}) + "\n"))
    ran = run("answer", "-m", answerer, "-i", tmp_path / "twice.jsonl", "--to", "squad")
    assert (ran.code, "Two questions have the id 1" in ran.err) == (2, True)


def test_words_are_tagged_as_evaluate_tags_them(run: Run, tagger: Path, tmp_path: Path) -> None:
    sentences = [["Ada", "Lovelace-Byron", "met", "U.S.", "men"], ["\x07", "Zürich"]]
    lines = [f"{word}\tNN\tO" for word in sentences[0]], [f"{word}\tNN\tO" for word in sentences[1]]
    path = tmp_path / "test.conll"
    path.write_text("\n\n".join("\n".join(part) for part in lines) + "\n")
    ran = run("tag", "-m", tagger, "-i", path)
    assert ran.code == 0, ran.err
    records = ran.records
    assert [record["words"] for record in records] == sentences
    assert [list(record) for record in records] == [["words", "2", "tags", "predicted_tags"]] * 2
    rows = [
        {"words": words, "tags": record["predicted_tags"]} for words, record in zip(sentences, records, strict=True)
    ]
    # all of the model's own tags are right
    assert bertie.evaluate("ner", rows[:1], model=tagger, show_progress=False).metrics["accuracy"] == 1
    assert {tag for record in records for tag in record["predicted_tags"]} - {"O"}
    ran = run("tag", "-m", tagger, "-i", path, "--to", "conll")
    expected = [
        [f"{line}\t{tag}" for line, tag in zip(part, record["predicted_tags"], strict=True)]
        for part, record in zip(lines, records, strict=True)
    ]
    assert ran.out == "".join("".join(f"{line}\n" for line in part) + "\n" for part in expected).replace(
        "\x07", "\\u0007"
    )
    (tmp_path / "words.jsonl").write_text(json.dumps({"id": 7, "tokens": sentences[0]}))
    out = run("tag", "-m", tagger, "-i", tmp_path / "words.jsonl", "--to", "conll").out
    assert out.startswith(f"# id = 7\nAda\t{records[0]['predicted_tags'][0]}\n")
    ran = run("tag", "-m", tagger, "Ada", "--to", "conll")
    assert (ran.code, "--to conll writes words" in ran.err) == (2, True)
    ran = run("tag", "-m", tagger, "Ada", "--to", "squad")
    assert (ran.code, ran.err) == (
        2,
        "bertie: --to is 'squad'; answers are written as jsonl, csv, tsv, parquet or conll.\n",
    )


def test_rows_keep_their_columns(run: Run, tagger: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id|body|entities\n7|Ada left|gold\n", "utf-8")
    ran = run("tag", "-m", tagger, "-i", path, "--column", "body", "--delimiter", "|")
    (record,) = ran.records
    assert list(record) == ["id", "body", "input_entities", "entities"]
    assert (record["id"], record["input_entities"], ran.err) == ("7", "gold", "")
    ran = run("tag", "-m", tagger, "-i", path, "--column", "body")
    assert ran.err == f"bertie: The columns of {path} are separated by bars (--delimiter names others).\n"
    assert ran.records == [record]


def test_answer_says_what_is_missing(run: Run, answerer: Path, tmp_path: Path) -> None:
    ran = run("answer", "-m", answerer, "Who?", "--context", tmp_path / "none.txt")
    assert (ran.code, "cannot be read" in ran.err) == (2, True)
    ran = run("answer", "-m", answerer, "Who?")
    assert (ran.code, "two by two" in ran.err) == (2, True)
    ran = run("answer", "-m", answerer, "Who?", "")
    assert (ran.code, ran.err) == (2, "bertie: The context of input 0 is empty; give a text.\n")
