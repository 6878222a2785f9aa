"""The exports of annotation tools, as in their own documentation."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertie.data import BadRows, records
from bertie.errors import InputError

TEXT = "Ada met Bo."
SPANS = [[0, 3, "PER"], [8, 10, "PER"]]


def read(folder: Path, name: str, content: Any) -> tuple[list[dict[str, Any]], list[str]]:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    found = records(folder / name)
    return [dict(record.fields) for record in found], found.notes


def test_doccano_needs_no_conversion(tmp_path: Path) -> None:
    row = {"id": 1, "text": TEXT, "label": SPANS, "Comments": []}
    assert read(tmp_path, "a.jsonl", row) == ([row], [])


def test_prodigy(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "PER"}]
    tokens = [{"text": "Ada", "start": 0, "end": 3, "id": 0}]
    rows = [{"text": TEXT, "tokens": tokens, "spans": spans, "answer": one} for one in ("accept", "reject")]
    found, notes = read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert found == [{"text": TEXT, "answer": "accept", "entities": spans}, {"text": TEXT, "answer": "reject"}]
    assert notes == []


def test_prodigys_choices_and_texts_without_spans(tmp_path: Path) -> None:
    task = {"text": TEXT, "_task_hash": 1, "answer": "accept"}
    choices = {**task, "options": [{"id": "good", "text": "good"}], "accept": ["good"]}
    rows = [choices, {**task, "tokens": []}, {**task, "label": "good"}, {**task, "label": "good", "answer": "reject"}]
    found, _ = read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    known = [{name: row[name] for name in ("label", "entities") if name in row} for row in found]
    assert known == [{"label": "good"}, {"entities": []}, {"label": "good"}, {}]


def test_label_studio(tmp_path: Path) -> None:
    value = {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}
    result = [{"value": value, "from_name": "label", "to_name": "text", "type": "labels"}]
    choice = [{"value": {"choices": ["good"]}, "from_name": "kind", "to_name": "text", "type": "choices"}]
    tasks = [
        {"id": 7, "data": {"text": TEXT}, "annotations": [{"was_cancelled": True}, {"result": result}, {"result": []}]},
        {"id": 8, "data": {"text": TEXT}, "annotations": [{"result": choice}]},
        {"id": 9, "data": {"text": TEXT}, "annotations": []},
    ]
    expected = [
        {"id": 7, "text": TEXT, "entities": [value]},
        {"id": 8, "text": TEXT, "label": "good"},
        {"id": 9, "text": TEXT},
    ]
    notes = ["If Label Studio has several annotations of a text, the first one is read."]
    assert read(tmp_path, "a.json", tasks) == (expected, notes)
    assert read(tmp_path, "a.jsonl", "\n".join(map(json.dumps, tasks))) == (expected, notes)
    assert read(tmp_path, "b.json", "\n".join(map(json.dumps, tasks))) == (expected, notes)


def test_spacy(tmp_path: Path) -> None:
    expected = [{"text": TEXT, "entities": SPANS}]
    assert read(tmp_path, "a.json", [[TEXT, {"entities": SPANS}]]) == (expected, [])
    assert read(tmp_path, "a.jsonl", [TEXT, {"entities": SPANS}]) == (expected, [])
    assert read(tmp_path, "a.json", {"classes": ["PER"], "annotations": [[TEXT, {"entities": SPANS}]]})[0] == expected
    categories = [[TEXT, {"cats": {"good": 1.0, "bad": 0.0}}]]
    assert read(tmp_path, "a.json", categories)[0][0]["labels"] == ["good"]


def test_spacy_2(tmp_path: Path) -> None:
    tokens = [{"orth": "Ada", "tag": "NNP", "ner": "U-PER"}, {"orth": "met", "ner": "O"}, {"orth": "?", "ner": "-"}]
    document = [{"id": 0, "paragraphs": [{"raw": TEXT, "sentences": [{"tokens": tokens}]}]}]
    assert read(tmp_path, "a.json", document)[0] == [{"words": ["Ada", "met", "?"], "tags": ["U-PER", "O", "O"]}]


def test_brat(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada met Bo.\n\nShe left for São Paulo, Brazil.\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Nothing.\n", encoding="utf-8")
    (tmp_path / "b.ann").write_text("")
    (tmp_path / "a.ann").write_text(
        "T1\tPER 0 3\tAda\nT2\tPER 8 10\tBo\nR1\tKnows Arg1:T1 Arg2:T2\t\nA1\tSure T1\n"
        "T3\tLOC 26 29;37 43\tSão Brazil\n#1\tAnnotatorNotes T1\tno\n",
        encoding="utf-8",
    )
    found = records(tmp_path)
    assert [(record.where.rpartition("/")[2], dict(record.fields)) for record in found] == [
        ("a.txt, line 1", {"text": TEXT, "entities": [[0, 3, "PER"], [8, 10, "PER"]]}),
        ("a.txt, line 3", {"text": "She left for São Paulo, Brazil.", "entities": [[13, 30, "LOC"]]}),
        ("b.txt, line 1", {"text": "Nothing.", "entities": []}),
    ]
    assert [note.replace(f"{tmp_path}/", "") for note in found.notes] == [
        "2 files are read as one: a.ann, b.ann.",
        "Line 5 of a.ann has a span in parts; it is read from the start of the first to the end of the last.",
    ]


def test_brat_spans_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada met Bo.")
    (tmp_path / "a.ann").write_text("T1\tPER 1 3\tAda\nT2 PER 0 3\n")
    with pytest.raises(InputError, match="Line 1 of .*a.ann says 'Ada' where a.txt has 'da'"):
        list(records(tmp_path / "a.ann"))
    bad = BadRows("skip")
    (record,) = records(tmp_path / "a.ann", None, bad)
    assert (record.fields["entities"], bad.count) == ([], 2)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InputError, match="a.txt' cannot be read"):
        list(records(tmp_path / "a.ann"))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_contexts_with_their_questions(tmp_path: Path, name: str) -> None:
    question = {"id": "1", "question": "Who?", "is_impossible": False, "answers": [{"text": "Ada", "answer_start": 0}]}
    item = {"context": TEXT, "qas": [question]}
    found, _ = read(tmp_path, name, [item] if name == "a.json" else item)
    assert found == [{"title": "", "context": TEXT, **question}]


def test_fasttext(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "a.txt", "__label__good A fine film\n__label__a __label__b , both __label__\n")
    assert found == [{"text": "A fine film", "label": "good"}, {"text": "both __label__", "label": ["a", "b"]}]
    assert notes == [f"{tmp_path}/a.txt is read as a fastText file: labels begin with __label__."]
    assert read(tmp_path, "b.txt", "What __label__ is\n")[0] == [{"text": "What __label__ is"}]
