"""Records → examples: the forms of every task, every kind of bad row with its message, and real files."""

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.data import BadRows
from bertie.data.dataset import Dataset, ExampleReader, load_dataset
from bertie.data.example import Example
from bertie.data.labelling import KINDS, Labelling, LabelOptions
from bertie.errors import InputError
from bertie.tasks.registry import ROWS

CLASSIFY, TAG, ANSWER, CHOOSE = (
    "text-classification",
    "token-classification",
    "question-answering",
    "multiple-choice",
)
CONTEXT = "Ada wrote it in 1843, and Ada was right."


def read(
    task: str, rows: Any, kind: str | None = None, labels: Any = None, owner: str = "the model", **options: Any
) -> list[tuple[Any, Any]]:
    """Return texts and labels, normalized if a kind or the known labels are given."""
    reader = ExampleReader(task, options=LabelOptions(kind=kind), **options)
    written = list(reader.read(rows))
    if kind is not None or labels is not None or reader.task == CHOOSE:
        labelling = reader.find_labelling(written)
        assert isinstance(labelling, Labelling)
        if labels is not None:
            labelling = labelling.restrict(labels, owner)
        written = list(reader.normalize(written, labelling))
    return [(example.text, example.label) for example in written]


def one(task: str, **fields: Any) -> tuple[Any, Any]:
    (found,) = read(task, [fields])
    return found


def answer(text: str, start: Any) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


def asked(**fields: Any) -> Any:
    return one(ANSWER, **{"question": "When?", "context": CONTEXT, "id": "q"} | fields)[1]


# forms


def test_classification() -> None:
    assert one(CLASSIFY, text="good", label="pos") == ("good", "pos")
    assert one(CLASSIFY, text="good", label=3) == ("good", "3")
    assert one(CLASSIFY, text="good", label=3.0) == ("good", "3")
    assert one(CLASSIFY, text="good", labels=["a", "b"]) == ("good", ["a", "b"])
    assert one(CLASSIFY, text="good", labels="['a', 'b']") == ("good", ["a", "b"])
    assert one(CLASSIFY, premise="a", hypothesis="b", label="no") == (("a", "b"), "no")
    assert read(CLASSIFY, [{"text": "x", "rude": "0", "kind": "1", "toxic": "1"}], kind="multi-label") == [
        ("x", ["kind", "toxic"])
    ]
    rows = [{"text": "x", "labels": "b|a| b |"}]
    assert read(CLASSIFY, rows, kind="multi-label") == [("x", ["b", "a"])]
    assert read(CLASSIFY, [{"text": "x", "score": "2.5"}], kind="regression") == [("x", 2.5)]
    assert read(CLASSIFY, [{"text": "x"}], needs_label=False) == [("x", None)]


def test_tags() -> None:
    assert one(TAG, tokens=["EU", "said"], ner_tags=["B-ORG", "O"]) == (["EU", "said"], ["B-ORG", "O"])
    assert one(TAG, words="EU said", tags="B-ORG O") == (["EU", "said"], ["B-ORG", "O"])
    assert one(TAG, words="['EU', 'said so']", tags='["B-ORG", "O"]') == (["EU", "said so"], ["B-ORG", "O"])
    assert one(TAG, tokens=["a"], tags=[3]) == (["a"], ["3"])


def test_questions() -> None:
    expected = {"answers": [answer("1843", 16)]}
    assert asked(answers=[answer("1843", 16)]) == expected
    assert asked(answers={"text": ["1843"], "answer_start": [16]}) == expected
    assert asked(answers='{"text": ["1843"], "answer_start": [16]}') == expected
    assert asked(answers="1843", answer_start="16") == expected
    assert asked(answer_text="1843", answer_start="16") == expected
    assert asked(answer_text=["1843", "in 1843"], answer_start=[16, 13])["answers"][1] == answer("in 1843", 13)
    assert asked(answer=" 1843 ", answer_start=15.0) == expected
    assert asked(answer="1843") == expected
    assert asked(answer="", answer_start="") == {"answers": []}
    assert asked(answers=[]) == {"answers": []}
    assert asked(answers=[answer("never", 0)], is_impossible=True) == {"answers": []}
    text, _ = one(ANSWER, question="q?", context="c", answer="c")
    assert text == {"question": "q?", "context": "c", "id": "row 0"}


def test_answers_at_slightly_wrong_positions_are_moved_and_counted() -> None:
    rows = ExampleReader(ANSWER)
    found = list(
        rows.read(
            [
                {"question": "q", "context": CONTEXT, "answers": [answer("1843", start)]}
                for start in (14, 15, 16, 17, 18)
            ]
            + [{"question": "q", "context": CONTEXT, "answers": [answer("Ada", 24)]}]
        )
    )
    assert [example.label["answers"][0]["answer_start"] for example in found] == [16] * 5 + [26]
    assert rows.warnings() == ["Answers that were found a few characters from their answer_start: 5."]
    rows = ExampleReader(ANSWER)
    list(rows.read([{"question": "q", "context": CONTEXT, "answer": "Ada"}]))
    assert rows.warnings() == [
        "Answers without answer_start that occur several times in their context; the first occurrence was taken: 1."
    ]


def test_choices() -> None:
    text = {"prompt": "He", "choices": ["runs.", "sat."]}
    for label in (1, "1", "B", "b", "sat."):
        assert one(CHOOSE, prompt="He", choices=["runs.", "sat."], label=label) == (text, 1)
    assert one(CHOOSE, prompt="He", choice0="runs.", choice1="sat.", choice2="", label="1") == (text, 1)
    swag = one(CHOOSE, sent1="It rained.", sent2="He", ending0="runs.", ending1="sat.", label=0)
    assert swag == ({"prompt": "It rained.", "choices": ["He runs.", "He sat."]}, 0)
    arc = {"text": ["runs.", "sat."], "label": ["1", "2"]}
    assert one(CHOOSE, question="He", choices=arc, answerKey="2") == (text, 1)
    assert one(CHOOSE, question="7?", choices=["8", "7"], label=1) == ({"prompt": "7?", "choices": ["8", "7"]}, 1)


def test_pairs() -> None:
    assert one("next-sentence", sentence1="a", sentence2="b", label="0") == (("a", "b"), 0)
    assert one("next-sentence", sentence1="a", sentence2="b", is_next=True) == (("a", "b"), 0)
    assert one("next-sentence", sentence1="a", sentence2="b", label="NotNext") == (("a", "b"), 1)
    assert one("embed", sentence1="a", sentence2="b", score="4.5") == (("a", "b"), 4.5)
    assert one("embed", sentence1="a", sentence2="b") == (("a", "b"), None)
    assert one("embed", anchor="a", positive="b", negative="c") == (("a", "b", "c"), None)
    assert one("reranking", query="a", passage="b", label=1) == (("a", "b"), 1.0)


def test_plain_text_for_masking(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert read("fill-mask", tmp_path / "a.txt") == [("one", None), ("two", None)]


# bad rows

QUESTION = {"question": "q", "context": CONTEXT}
CHOICES = {"prompt": "He", "choices": ["runs.", "sat."]}
PAIR = {"sentence1": "a", "sentence2": "b"}
BAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (CLASSIFY, {"text": "", "label": "a"}, {}, "The text in row 0 of dev is empty."),
    (CLASSIFY, {"text": " \u200b\x00\t", "label": "a"}, {}, "The text in row 0 of dev is empty."),
    (CLASSIFY, {"text": None, "label": "a"}, {}, "There is no text in row 0 of dev."),
    (CLASSIFY, {"text": float("nan"), "label": "a"}, {}, "There is no text in row 0 of dev."),
    (CLASSIFY, {"text": 42, "label": "a"}, {}, "The text in row 0 of dev is 42, not a text."),
    (CLASSIFY, {"text": "x", "label": ""}, {}, "There is no label in row 0 of dev."),
    (CLASSIFY, {"text": "x", "labels": ""}, {}, "There is no label in row 0 of dev; if a text may have several "
        "labels, [] stands for none."),
    (CLASSIFY, {**PAIR, "sentence2": "", "label": "a"}, {}, "The second text in row 0 of dev is empty."),
    (CLASSIFY, {"text": "x", "label": "foo"}, {"kind": "single-label", "labels": ["neg", "pos"], "owner": "train"},
        "Unknown label 'foo' in row 0 of dev; train has 'neg', 'pos'."),
    (CLASSIFY, {"text": "x", "label": "po"}, {"kind": "multi-label", "labels": [*"abcdefghijklm", "pos"]},
        "Unknown label 'po' in row 0 of dev; the model has 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j' and 4 "
        "more. "
        "Did you mean 'pos'?"),
    (CLASSIFY, {"text": "x", "label": ["a", "b"]}, {"kind": "single-label"},
        "The label in row 0 of dev is a list, ['a', 'b'], not one label; kind='multi-label' allows several."),
    (CLASSIFY, {"text": "x", "label": "n/a"}, {"kind": "regression"}, "The label in row 0 of dev is 'n/a', not a "
        "number."),
    (CLASSIFY, {"text": "x", "label": "inf"}, {"kind": "regression"}, "The label in row 0 of dev is 'inf', not a "
        "number."),
    (CLASSIFY, {"text": "x", "rude": "2", "kind": "1"}, {"columns": {"label": ["rude", "kind"]}},
        "The label 'rude' in row 0 of dev is '2', not 0 or 1."),
    (TAG, {"words": ["a", "b"], "tags": ["O"]}, {}, "There are 2 words and 1 tag in row 0 of dev; each word has "
        "one tag."),
    (TAG, {"words": [], "tags": []}, {}, "There are no words in row 0 of dev."),
    (TAG, {"words": ["a"], "tags": None}, {}, "There are no tags in row 0 of dev."),
    (TAG, {"words": ["a", ""], "tags": ["O", "O"]}, {}, "Word 1 of 2 in row 0 of dev is '', which has no content."),
    (TAG, {"words": ["\x07\u200b"], "tags": ["O"]}, {},
        r"Word 0 of 1 in row 0 of dev is '\x07\u200b', which has no content."),
    (TAG, {"words": ["a"], "tags": [""]}, {}, "Word 0 of 1 in row 0 of dev, 'a', has no tag."),
    (TAG, {"words": ["a"], "tags": ["X"]}, {"labels": ["O", "B-PER"], "owner": "train"},
        "Unknown tag 'X' in row 0 of dev; train has 'B-PER', 'O'."),
    (ANSWER, {**QUESTION, "answers": [answer("1843", 30)]}, {},
        "The answer '1843' is at character 16 of its context, not at 30, in row 0 of dev."),
    (ANSWER, {**QUESTION, "answers": [answer("Bob", 3)]}, {},
        "The answer 'Bob' does not occur in its context in row 0 of dev."),
    (ANSWER, {**QUESTION, "answer": "Bob"}, {}, "The answer 'Bob' does not occur in its context in row 0 of dev."),
    (ANSWER, {**QUESTION, "context": "", "answers": []}, {}, "The context in row 0 of dev is empty."),
    (ANSWER, {**QUESTION, "question": " ", "answers": []}, {}, "The question in row 0 of dev is empty."),
    (ANSWER, {**QUESTION, "answers": None}, {},
        "There are no answers in row 0 of dev; a question without one has an empty list."),
    (ANSWER, {**QUESTION, "answers": "[{"}, {}, "The answers in row 0 of dev are '[{', which is not JSON."),
    (ANSWER, {**QUESTION, "answers": [3]}, {},
        "An answer in row 0 of dev has no 'text'; each has 'text' and 'answer_start'."),
    (ANSWER, {**QUESTION, "answers": {"text": ["a", "b"], "answer_start": [1]}}, {},
        "There are 2 answers and 1 answer_start in row 0 of dev; each answer has one."),
    (ANSWER, {**QUESTION, "answers": [answer("1843", "x")]}, {},
        "The answer_start in row 0 of dev is 'x', not a number of characters."),
    (ANSWER, {**QUESTION, "answers": [answer("", 3)]}, {}, "The answer in row 0 of dev is empty."),
    (CHOOSE, {**CHOICES, "choices": ["one"], "label": 0}, {},
        "There is 1 choice in row 0 of dev; at least two are needed."),
    (CHOOSE, {**CHOICES, "choices": ["one", " "], "label": 0}, {}, "The choice 1 in row 0 of dev is empty."),
    (CHOOSE, {**CHOICES, "label": None}, {}, "There is no label in row 0 of dev."),
    (CHOOSE, {**CHOICES, "label": 3}, {}, "The label 3 in row 0 of dev is none of its 2 choices; it must be a "
        "number from "
        "0 to 1, a letter from A to B, or a choice's text."),
    (CHOOSE, {"prompt": "7?", "choices": ["1", "0"], "label": "1"}, {},
        "The label '1' in row 0 of dev may mean several choices; give the letter of one."),
    ("next-sentence", {**PAIR, "label": "2"}, {},
        "The label in row 0 of dev is '2'; it must be 0 (follows) or 1 (does not)."),
    ("next-sentence", {**PAIR, "is_next": "maybe"}, {},
        "The label in row 0 of dev is 'maybe'; it must be 1 (follows) or 0."),
    ("embed", {**PAIR, "score": "high"}, {}, "The label in row 0 of dev is 'high', not a number."),
    ("reranking", {"query": "q", "passage": "p", "label": ""}, {}, "There is no label in row 0 of dev."),
    ("fill-mask", {"text": " "}, {}, "The text in row 0 of dev is empty."),
]  # fmt: skip


@pytest.mark.parametrize(("task", "row", "options", "message"), BAD, ids=[row[3][:40] for row in BAD])
def test_45_46_47_bad_rows(task: str, row: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        read(task, [row], name="dev", **options)
    assert str(error.value) == message
    bad = BadRows("skip")
    assert read(task, [row], name="dev", bad=bad, **options) == []
    assert bad.sentences == [message]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "answer_start"]), inner),
    max_leaves=6,
)
COLUMNS = ["text", "label", "labels", "words", "tags", "question", "context", "answers", "answer_start", "prompt",
           "choices", "sentence1", "sentence2", "is_next", "score", "query", "passage", "a", "b"]  # fmt: skip


@given(
    st.sampled_from([row.name for row in ROWS if row.learns]),
    st.lists(st.dictionaries(st.sampled_from(COLUMNS), ANYTHING), max_size=4),
)
def test_every_odd_row_is_at_worst_an_input_error(task: str, rows: list[dict[str, Any]]) -> None:
    with contextlib.suppress(InputError):
        for kind in (None, *KINDS):
            read(task, rows, kind=kind, bad=BadRows("skip"))
        load_dataset(task, rows, rows, on_bad_row="skip")


def test_one_task_reads_its_own_fields_from_anything() -> None:
    for task, row, _, _ in BAD:
        for field in row:
            for value in (None, "", [], {}, 0, -1, 1.5, "x", [None], {"text": None}, float("nan"), [["x"]], True):
                with contextlib.suppress(InputError):  # a column that is missing
                    read(task, [{**row, field: value}], bad=BadRows("skip"))


# whole files

SKIP = " on_bad_row='skip' leaves out and counts such rows."


def table(folder: Path, name: str, rows: str) -> Path:
    (folder / name).write_text(rows)
    return folder / name


def classified(rows: str, folder: Path, **options: Any) -> Dataset:
    return load_dataset(CLASSIFY, table(folder, "train.csv", rows), options=LabelOptions(**options))


@pytest.mark.parametrize(
    ("rows", "kind", "labels"),
    [
        ("text,label\na,pos\nb,neg\n", "single-label", ["neg", "pos"]),
        ("text,label\na,10\nb,2\nc,x\n", "single-label", ["2", "10", "x"]),
        ("text,label\na,1.0\nb,2.0\n", "single-label", ["1", "2"]),
        ("text,label\na,1.5\nb,2\n", "regression", []),
        ("text,labels\na,x|y\nb,z\n", "multi-label", ["x", "y", "z"]),
        ("text,labels\na,x\nb,z\n", "single-label", ["x", "z"]),
        ("text,label\na,x|y\nb,z\n", "single-label", ["x|y", "z"]),
        ("text,rude,kind\na,1,0\nb,0,0\n", "multi-label", ["rude", "kind"]),
    ],
)
def test_the_kind_is_guessed(tmp_path: Path, rows: str, kind: str, labels: list[str]) -> None:
    data = classified(rows, tmp_path)
    assert (data.kind, data.labels) == (kind, labels)


def test_the_kind_can_be_given(tmp_path: Path) -> None:
    data = classified("text,label\na,1\nb,2\n", tmp_path, kind="regression")
    assert [example.label for example in data.train] == [1.0, 2.0]
    data = classified("text,label\na,x|y\nb,z\n", tmp_path, kind="multi-label", label_names=["z", "y", "x"])
    assert (data.labels, data.train[0].label) == (["z", "y", "x"], ["x", "y"])
    with pytest.raises(InputError, match="There is no kind 'multi'; allowed are single-label, multi-label, regression"):
        classified("text,label\n", tmp_path, kind="multi")


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        (CLASSIFY, "text,label\n", "FILE has no usable row."),
        (CLASSIFY, "text,label\na,b\n", "FILE has one row; training needs 2 or more."),
        (CLASSIFY, "text,label\na,x\nb,x\n", "All 2 rows of FILE have the label 'x'; a classifier needs rows of two "
            "classes."),
        (CLASSIFY, "text,label\na,2.5\nb,2.5\n", "All 2 rows of FILE have the label 2.5; training needs rows of two."),
        (CLASSIFY, "text,labels\na,[]\nb,[]\n", "No row of FILE has any label; a classifier needs some."),
        (CLASSIFY, "text,label\n" + "".join(f"t{n},l{n}\n" for n in range(20)), "FILE has 20 different labels in "
        "20 rows, "
            "such as 'l0': name the column of the label, columns={'label': '…'}, or the kind: kind='single-label' if "
            "they are classes, kind='regression' if they are numbers."),
        (CLASSIFY, "text,label\na,2.5\nb,1.5\nc,n/a\n", "The label in FILE, line 4 is 'n/a', not a number." + SKIP),
        (TAG, "words,tags\na b,O O\nc,O\n", "All words of FILE have the tag 'O'; a tagger needs words of two tags."),
        (TAG, "words,tags\na b,B-X O\nc,X-Y\n", "The tag 'X-Y' of word 0 in FILE, line 3 fits no scheme, while "
            "others do: BIO has O, B-… and I-…, BIOES also E-… and S-…." + SKIP),
        ("reranking", "query,passage,label\na,b,1\nc,d,1\n", "All 2 rows of FILE have the label 1; training needs "
        "rows of "
            "two."),
    ],
)  # fmt: skip
def test_45_files_that_cannot_be_trained_on(tmp_path: Path, task: str, rows: str, message: str) -> None:
    path = table(tmp_path, "train.csv", rows)
    with pytest.raises(InputError) as error:
        load_dataset(task, path)
    assert str(error.value).replace(str(path), "FILE") == message


def test_45_unknown_labels_of_dev(tmp_path: Path) -> None:
    train = table(tmp_path, "train.csv", "text,label\na,pos\nb,neg\n")
    dev = table(tmp_path, "dev.csv", "text,label\nc,pos\nd,foo\n")
    with pytest.raises(InputError) as error:
        load_dataset(CLASSIFY, train, dev)
    assert str(error.value) == f"Unknown label 'foo' in {dev}, line 3; train has 'neg', 'pos'.{SKIP}"
    data = load_dataset(CLASSIFY, train, dev, on_bad_row="skip")
    assert data.test == [Example("c", "pos", f"{dev}, line 2")]
    assert data.bad.count == 1
    with pytest.raises(InputError, match="test has no usable row .1 bad rows were left out; the first: Unk"):
        load_dataset(CLASSIFY, train, [{"text": "d", "label": "foo"}], on_bad_row="skip")


def test_45_texts_that_train_and_dev_share_are_reported(tmp_path: Path) -> None:
    train = table(tmp_path, "train.csv", "text,label\na,x\nb,y|z\n")
    assert load_dataset(CLASSIFY, train, train).warnings == [
        "1 label of train holds a bar; kind='multi-label' treats it as the separator of several labels.",
        "1 label of test holds a bar; kind='multi-label' treats it as the separator of several labels.",
        "2 of 2 texts of test are in train too: the metrics on test look better than they are.",
    ]
    questions = [{"question": str(n), "context": CONTEXT, "answer": "1843", "id": "same"} for n in range(2)]
    assert load_dataset(ANSWER, questions, [questions[0]]).warnings == [
        "1 of 2 ids of train is that of another question in it.",
        "1 of 1 texts of test is in train too: the metrics on test look better than they are.",
        "1 of 1 ids of test is in train too.",
    ]


def test_46_tags_that_continue_nothing_are_counted() -> None:
    rows = [{"words": ["a", "b", "c"], "tags": tags} for tags in (["B-X", "I-X", "O"], ["O", "I-X", "I-Y"])]
    data = load_dataset(TAG, rows)
    assert data.labels == ["O", "B-X", "I-X", "I-Y"]
    assert data.warnings == ["2 tags of train continue an entity that was not begun, such as I- without B-."]
    assert load_dataset(TAG, [{"words": ["a", "b"], "tags": ["NN", "VB"]}] * 2).labels == ["NN", "VB"]


def test_datasets_and_data_frames_are_read_like_files() -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    split = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    expected = [Example("a", "no", "row 0 of train"), Example("b", "yes", "row 1 of train")]
    assert load_dataset(CLASSIFY, split).train == expected
    assert load_dataset(CLASSIFY, pandas.DataFrame({"text": ["a", "b"], "label": ["no", "yes"]})).train == expected


# real files

REAL = [
    (CLASSIFY, "sentiment/{}.csv", "single-label", 2, 8_529, 1_066),
    (CLASSIFY, "reviews/{}.csv", "single-label", 2, 1_600, 200),
    (CLASSIFY, "emotions/{}.csv", "multi-label", 28, 43_410, 5_426),
    (CLASSIFY, "similarity/{}.csv", "regression", 0, 5_749, 1_500),
    ("embed", "similarity/{}.csv", None, 0, 5_749, 1_500),
    (TAG, "entities/{}.conll", None, 13, 3_394, 1_009),
    (ANSWER, "questions/{}.json", None, 0, 838, 170),
]


@pytest.mark.parametrize(
    ("task", "name", "kind", "labels", "train", "dev"),
    REAL,
    ids=[f"{row[1].partition('/')[0]}-{row[0]}" for row in REAL],
)
def test_real_files(shared: Path, task: str, name: str, kind: str | None, labels: int, train: int, dev: int) -> None:
    data = load_dataset(task, *(shared / "data" / name.format(part) for part in ("train", "dev")))
    assert data.test is not None
    assert (data.kind, len(data.labels), len(data.train), len(data.test)) == (kind, labels, train, dev)
    assert data.bad.count == 0
    counts = Counter(type(example.text).__name__ for example in data.train)
    assert len(counts) == 1
    if "emotions" in name:
        says = "43 of 5,426 texts of test are in train too: the metrics on test look better than they are."
        assert data.warnings == [says]


def test_a_file_of_words_is_conll_unless_its_name_says_otherwise(tmp_path: Path) -> None:
    assert read(TAG, table(tmp_path, "train.txt", "EU B-ORG\nsaid O\n")) == [(["EU", "said"], ["B-ORG", "O"])]


def test_squad_files(tmp_path: Path) -> None:
    questions = [{"id": "1", "question": "q", "answers": [answer("1843", 16)]},
                 {"id": "2", "question": "r", "answers": [], "is_impossible": True}]  # fmt: skip
    document = {"data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]}
    data = load_dataset(ANSWER, table(tmp_path, "train.json", json.dumps(document)))
    assert [example.label for example in data.train] == [{"answers": [answer("1843", 16)]}, {"answers": []}]


def test_pairs_that_share_a_text_are_counted() -> None:
    rows = [{"anchor": a, "positive": b} for a, b in ("ab", "ac", "de", "fe", "gh", "bi")]
    said = "4 of 6 rows of train share their anchor or their partner with others"
    assert [warning.partition(";")[0] for warning in load_dataset("embed", rows).warnings] == [said]
    assert load_dataset("embed", [{**row, "score": 0.5} for row in rows]).warnings == []
