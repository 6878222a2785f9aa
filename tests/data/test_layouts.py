"""Rows that are not one example each: one word per row, and queries with several passages."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertie.data.dataset import ExampleReader, load_dataset
from bertie.errors import InputError

KAGGLE = "Sentence #,Word,POS,Tag\nSentence: 1,Ada,NNP,B-per\n,met,VBD,O\nSentence: 2,Bo,NNP,B-per\n,left,VBD,O\n"
SIMPLE = "sentence_id,words,labels\n0,Ada,B-per\n0,met,O\n1,Bo,B-per\n1,left,O\n"


def examples(task: str, path: Path, content: str, **more: Any) -> tuple[list[tuple[Any, Any]], list[str]]:
    path.write_text(content)
    rows = ExampleReader(task, **more)
    return [(example.text, example.label) for example in rows.read(path)], rows.warnings()


@pytest.mark.parametrize(("content", "column"), [(KAGGLE, "Sentence #"), (SIMPLE, "sentence_id")])
def test_rows_of_one_word_are_grouped(tmp_path: Path, content: str, column: str) -> None:
    found, notes = examples("token-classification", tmp_path / "a.csv", content)
    assert found == [(["Ada", "met"], ["B-per", "O"]), (["Bo", "left"], ["B-per", "O"])]
    assert notes[0] == f"Rows of one word each are grouped by the column {column!r}."


def test_the_user_may_name_the_column_of_sentences(tmp_path: Path) -> None:
    content = SIMPLE.replace("sentence_id", "part")
    with pytest.raises(InputError, match=r"Each row has one word, from .*a.csv, line 2 on, and no column says which "):
        examples("token-classification", tmp_path / "a.csv", content)
    found, _ = examples("token-classification", tmp_path / "a.csv", content, columns={"sentence": "part"})
    assert found[1] == (["Bo", "left"], ["B-per", "O"])
    with pytest.raises(InputError, match="There is no column 'prt'; .* Did you mean 'part'?"):
        examples("token-classification", tmp_path / "a.csv", content, columns={"sentence": "prt"})


def test_words_of_a_sentence_must_be_consecutive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 6 is of the sentence '0', whose words are not consecutive"):
        examples("token-classification", tmp_path / "a.csv", SIMPLE + "0,again,O\n")


def test_sentences_in_cells_are_kept(tmp_path: Path) -> None:
    content = "sentence_id,words,labels\n0,Ada met,B-per O\n1,Bo,B-per\n"
    found, _ = examples("token-classification", tmp_path / "a.csv", content)
    assert found == [(["Ada", "met"], ["B-per", "O"]), (["Bo"], ["B-per"])]


def test_texts_rejected_in_prodigy_are_not_trained_on(tmp_path: Path) -> None:
    rows = [
        {"text": "a film", "label": "POS", "answer": "accept", "_task_hash": 1},
        {"text": "a bore", "label": "POS", "answer": "reject", "_task_hash": 2},
        {"text": "a play", "label": "NEG", "answer": "accept", "_task_hash": 3},
    ]
    content = "\n".join(map(json.dumps, rows))
    found, notes = examples("text-classification", tmp_path / "a.jsonl", content, name="train")
    assert found == [("a film", "POS"), ("a play", "NEG")]
    assert "Rows of train not accepted in Prodigy, which are left out: 1." in notes
    found, _ = examples("text-classification", tmp_path / "a.jsonl", content, needs_label=False)
    assert len(found) == 3


def test_columns_of_conll_by_number(tmp_path: Path) -> None:
    content = "1\tAda\tNNP\tB-per\n2\tmet\tVBD\tO\n"
    for columns, tags in (
        ({}, ["B-per", "O"]),
        ({"tags": "3"}, ["NNP", "VBD"]),
        ({"words": "2", "tags": 4}, ["B-per", "O"]),
    ):
        found, _ = examples("token-classification", tmp_path / "a.conll", content, columns=columns)
        assert found == [(["Ada", "met"], tags)]


TRIPLET = {"query": "q", "positive": "yes", "negative": "no"}


@pytest.mark.parametrize(
    ("row", "pairs"),
    [
        (TRIPLET, [("yes", 1.0), ("no", 0.0)]),
        ({"query": "q", "pos": ["yes", "also"], "neg": ["no"]}, [("yes", 1.0), ("also", 1.0), ("no", 0.0)]),
        (
            {"query": "q", "positive_passages": [{"title": "T", "text": "yes"}], "negative_passages": [{"text": "no"}]},
            [("T yes", 1.0), ("no", 0.0)],
        ),
        (
            {"query": "q", "positive": "yes", "negative1": "no", "negative2": "nor"},
            [("yes", 1.0), ("no", 0.0), ("nor", 0.0)],
        ),
    ],
)
def test_reranking_of_positives_and_negatives(tmp_path: Path, row: dict[str, Any], pairs: list[Any]) -> None:
    found, _ = examples("reranking", tmp_path / "a.jsonl", json.dumps(row))
    assert found == [(("q", passage), label) for passage, label in pairs]


def test_embedding_of_lists_of_positives_and_negatives(tmp_path: Path) -> None:
    row = {"query": "q", "pos": ["a", "b", "c"], "neg": ["x", "y"]}
    found, _ = examples("embed", tmp_path / "a.jsonl", json.dumps(row))
    assert found == [(("q", "a", "x"), None), (("q", "b", "y"), None), (("q", "c", "x"), None)]
    found, _ = examples("embed", tmp_path / "a.jsonl", json.dumps({"query": "q", "pos": ["a"]}))
    assert found == [(("q", "a"), None)]
    found, _ = examples("embed", tmp_path / "a.jsonl", json.dumps(TRIPLET))
    assert found == [(("q", "yes", "no"), None)]


def test_unread_negatives_are_counted(tmp_path: Path) -> None:
    row = {"query": "q", "pos": ["a"], "neg": ["x", "y", "z"]}
    found, notes = examples("embed", tmp_path / "a.jsonl", json.dumps(row))
    assert found == [(("q", "a", "x"), None)]
    assert notes == ["negatives that are not read, as each positive passage is paired with one: 2."]


def test_ms_marco(tmp_path: Path) -> None:
    good, poor = "A passage that answers it, " * 4, "A passage that does not, " * 4
    found, notes = examples("reranking", tmp_path / "a.tsv", f"what is it\t{good}\t{poor}\n")
    assert found == [(("what is it", good), 1.0), (("what is it", poor), 0.0)]
    assert notes == [f"{tmp_path}/a.tsv has no header; its columns are read as MS MARCO's: query, positive, negative."]
    found, _ = examples("reranking", tmp_path / "a.tsv", f'7\t8\twhat "is" it\t"{good}\n', needs_label=False)
    assert found == [(('what "is" it', f'"{good}'), None)]


def test_fasttext_and_questions_of_lists(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("__label__good fine\n__label__bad poor\n__label__bad worse\n")
    data = load_dataset("text-classification", tmp_path / "a.txt")
    assert [(one.text, one.label) for one in data.train] == [("fine", "good"), ("poor", "bad"), ("worse", "bad")]
    question = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    (tmp_path / "a.json").write_text(json.dumps([{"context": "Ada did.", "qas": [question, {**question, "id": "2"}]}]))
    data = load_dataset("question-answering", tmp_path / "a.json")
    assert [example.text["context"] for example in data.train] == ["Ada did.", "Ada did."]
