"""Entities as character spans → words and tags; spans that do not fit are counted, with an example."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bertie.data.dataset import load_dataset
from bertie.data.entity_spans import tagged_words
from bertie.data.record import BadRow

TEXT = "Ada Lovelace met Dr. O'Neil in 東京."
WORDS = ["Ada", "Lovelace", "met", "Dr", ".", "O", "'", "Neil", "in", "東", "京", "."]


def aligned(items: list[Any], text: str = TEXT) -> tuple[list[str], list[str], dict[str, int]]:
    notes: Counter[str] = Counter()
    words, tags = tagged_words(text, items, "a.jsonl, line 1", notes)
    return words, tags, dict(notes)


def test_words_are_those_of_the_tokenizer(minilm: Path) -> None:
    import bertie

    tokenizer = bertie.BertTokenizer.from_pretrained(minilm)
    text = f"{TEXT}\tTabs,  no-break\u00a0spaces; $5.00 – naïve\u200b café_au\nlait ¿qué?"
    words, tags, _ = aligned([], text)
    assert words[: len(WORDS)] == WORDS
    assert tags == ["O"] * len(words)
    assert tokenizer(words, is_split_into_words=True)["input_ids"] == tokenizer(text)["input_ids"]
    assert tokenizer(words, is_split_into_words=True).word_ids()[-2] == len(set(tokenizer(text).word_ids())) - 2


def test_spans_become_tags() -> None:
    items = [
        [0, 12, "PER"],
        {"start": 17, "end": 27, "label": "PER"},
        {"start_offset": 31, "end_offset": 33, "type": "LOC"},
    ]
    words, tags, notes = aligned(items)
    assert words == WORDS
    assert tags == ["B-PER", "I-PER", "O", *["B-PER", "I-PER", "I-PER", "I-PER", "I-PER"], "O", "B-LOC", "I-LOC", "O"]
    assert notes == {}
    assert aligned([{"start": 0, "end": 3, "labels": ["PER"]}])[1][0] == "B-PER"


def test_spans_that_do_not_fit_are_noted() -> None:
    _, tags, notes = aligned(
        [[0, 12, "PER"], [4, 12, "ORG"], [4, 12, "ORG"], [13, 15, "X"], [22, 25, "Y"], [3, 4, "Z"]]
    )
    assert tags[:8] == ["B-PER", "I-PER", "B-X", "O", "O", "O", "B-Y", "I-Y"]
    assert notes == {
        "Spans that overlap a longer one, which are left out, such as 'Lovelace' (ORG) in a.jsonl, line 1": 1,
        "Spans that begin or end within a word, which are extended to the whole word, "
        'such as "\'Ne" (Y) in a.jsonl, line 1': 2,
        "Spans without a word, which are left out, such as ' ' (Z) in a.jsonl, line 1": 1,
    }


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([0, 99, "PER"], r"The span \[0, 99, 'PER'\] in a.jsonl, line 1 is not within its text of \d+ characters"),
        ([3, 3, "PER"], "is not within its text"),
        ([0, 3], "is not a span: a span has start, end and label"),
        (["0", "3", "PER"], "is not a span"),
        ({"start": 0, "end": 3}, "is not a span"),
    ],
)
def test_invalid_spans_are_refused(item: Any, message: str) -> None:
    with pytest.raises(BadRow, match=message):
        aligned([item])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"id": 1, "text": "Ada met Bo.", "label": [[0, 3, "PER"], [8, 10, "PER"]]}'),
        ("a.jsonl", '{"id": 1, "text": "Ada met Bo.", "relations": [], "entities": [{"id": 0, "label": "PER", '
            '"start_offset": 0, "end_offset": 3}, {"id": 1, "label": "PER", "start_offset": 8, "end_offset": 10}]}'),
        ("a.jsonl", '{"text": "Ada met Bo.", "tokens": [{"text": "Ada"}], "spans": [{"start": 0, "end": 3, '
            '"label": "PER"}, {"start": 8, "end": 10, "label": "PER"}], "answer": "accept"}'),
        ("a.json", '[["Ada met Bo.", {"entities": [[0, 3, "PER"], [8, 10, "PER"]]}]]'),
        ("a.json", '[{"id": 7, "data": {"text": "Ada met Bo."}, "annotations": [{"result": [{"value": '
            '{"start": 0, "end": 3, "labels": ["PER"]}}, {"value": {"start": 8, "end": 10, "labels": ["PER"]}}]}]}]'),
        ("a.csv", 'text,entities\nAda met Bo.,"[[0, 3, ""PER""], [8, 10, ""PER""]]"\n'),
        ("a.ann", "T1\tPER 0 3\tAda\nT2\tPER 8 10\tBo\n"),
    ],
)  # fmt: skip
def test_each_tool_gives_the_same_examples(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / "a.txt").write_text("Ada met Bo.\n")
    data = load_dataset("token-classification", [tmp_path / name, tmp_path / name])
    assert [(example.text, example.label) for example in data.train[:1]] == [
        (["Ada", "met", "Bo", "."], ["B-PER", "O", "B-PER", "O"])
    ]
    assert data.labels == ["O", "B-PER"]
