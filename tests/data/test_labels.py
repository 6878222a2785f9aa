"""Labels in their variants: several in a cell, multi-hot lists, none, other spellings, choices numbered from 1."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bertie.data.dataset import Dataset, load_dataset
from bertie.data.labelling import LabelOptions
from bertie.data.labels import find_separator, no_labels
from bertie.data.schema import Columns
from bertie.data.schemas import SCHEMAS
from bertie.errors import InputError

CLASSIFY, CHOOSE = "text-classification", "multiple-choice"


def loaded(folder: Path, name: str, text: str, task: str = CLASSIFY, dev: str | None = None, **options: Any) -> Dataset:
    """Return the data read from a file with this text, and from a second one."""
    (folder / name).write_text(text, encoding="utf-8")
    if dev is not None:
        (folder / f"dev-{name}").write_text(dev, encoding="utf-8")
    said = LabelOptions.of(**options)
    return load_dataset(task, folder / name, None if dev is None else folder / f"dev-{name}", options=said)


def labels_of(data: Dataset) -> list[Any]:
    return [example.label for example in data.train]


# several labels


@pytest.mark.parametrize("cell", ["joy|fear", "joy;fear", "joy; fear", '"joy,fear"', '"joy, fear"'])
def test_the_separator_of_labels_is_found_and_reported(tmp_path: Path, cell: str) -> None:
    data = loaded(tmp_path, "a.csv", f"text,labels\na,{cell}\nb,joy\nc,anger\n")
    assert (data.kind, data.labels) == ("multi-label", ["anger", "fear", "joy"])
    assert labels_of(data) == [["joy", "fear"], ["joy"], ["anger"]]
    separator = next(sign for sign in "|;," if sign in cell)
    assert data.read_as == (
        f"text = text; label = labels; several labels, separated by {separator!r}, 3 classes: anger, fear, joy"
    )


def test_a_comma_that_belongs_to_the_names_is_not_a_separator(tmp_path: Path) -> None:
    rows = "".join(f'{text},"{label}"\n' for text, label in zip("abcd", ["Arts, Culture", "Law"] * 2, strict=True))
    data = loaded(tmp_path, "a.csv", f"text,labels\n{rows}")
    assert (data.kind, data.labels) == ("single-label", ["Arts, Culture", "Law"])
    assert find_separator(["a;b", "c"], None, "label") == ""
    assert find_separator(["a;b", "c"], "multi-label", "label") == ";"


def test_labels_that_share_parts_are_warned_of_if_the_column_is_not_plural(tmp_path: Path) -> None:
    data = loaded(tmp_path, "a.csv", 'text,mood\na,"joy, fear"\nb,joy\nc,fear\n')
    assert data.kind == "single-label"
    assert data.warnings == [
        "1 label of train holds a comma; kind='multi-label' treats it as the separator of several labels."
    ]


def test_lists_of_one_label_are_one_label(tmp_path: Path) -> None:
    lines = '{"text": "a", "labels": ["neg"]}\n{"text": "b", "labels": ["pos"]}\n'
    data = loaded(tmp_path, "a.jsonl", lines)
    assert (data.kind, data.labels, labels_of(data)) == ("single-label", ["neg", "pos"], ["neg", "pos"])
    assert loaded(tmp_path, "a.jsonl", lines, kind="single-label").kind == "single-label"
    assert labels_of(loaded(tmp_path, "a.jsonl", lines, kind="multi-label")) == [["neg"], ["pos"]]


# lists of 0 and 1

HOT = '{"text": "a", "labels": [0, 1, 1]}\n{"text": "b", "labels": [1, 0, 0]}\n{"text": "c", "labels": [0, 0, 0]}\n'


def test_multi_hot_lists_are_several_labels(tmp_path: Path) -> None:
    data = loaded(tmp_path, "a.jsonl", HOT)
    assert (data.kind, data.labels) == ("multi-label", ["0", "1", "2"])
    assert labels_of(data) == [["1", "2"], ["0"], []]
    assert any("--label-names" in warning or "label_names" in warning for warning in data.warnings)
    data = loaded(tmp_path, "a.jsonl", HOT, label_names=["toxic", "rude", "kind"], dev=HOT)
    assert (data.labels, labels_of(data)) == (["toxic", "rude", "kind"], [["rude", "kind"], ["toxic"], []])
    assert data.test is not None
    assert [example.label for example in data.test] == labels_of(data)
    with pytest.raises(InputError, match="label_names has 2 names, a, b; there are 3 labels."):
        loaded(tmp_path, "a.jsonl", HOT, label_names=["a", "b"])


def test_multi_hot_lists_are_named_by_columns_of_flags(tmp_path: Path) -> None:
    table = 'text,toxic,rude,labels\na,0,1,"[0, 1]"\nb,1,1,"[1, 1]"\nc,0,0,"[0, 0]"\n'
    data = loaded(tmp_path, "a.csv", table)
    assert (data.labels, labels_of(data)) == (["toxic", "rude"], [["rude"], ["toxic", "rude"], []])
    assert data.read_as == (
        "text = text; label = labels (lists of 0 and 1 for toxic, rude); several labels, 2 classes: toxic, rude"
    )
    # columns with other values don't name them
    data = loaded(tmp_path, "a.csv", table.replace("a,0,1", "a,1,1"))
    assert data.labels == ["0", "1"]


def test_flag_columns_keep_their_order_and_may_be_renamed(tmp_path: Path) -> None:
    table = "id,comment_text,toxic,obscene,threat\n1,a,1,0,0\n2,b,0,1,0\n"
    data = loaded(tmp_path, "a.csv", table)
    assert (data.labels, labels_of(data)) == (["toxic", "obscene", "threat"], [["toxic"], ["obscene"]])
    assert data.read_as == (
        "text = comment_text; labels = toxic, obscene, threat (0/1 columns); "
        "several labels, 3 classes: toxic, obscene, threat; ignored columns: id"
    )
    assert loaded(tmp_path, "a.csv", table, label_names=["x", "y", "z"]).labels == ["x", "y", "z"]


# no label


@pytest.mark.parametrize(
    ("labels", "kind", "none"),
    [
        (["entailment", "neutral", "-"], None, {"-"}),
        (["+", "-"], None, set()),
        (["0", "1", "2", "-1"], None, {"-1"}),
        (["-1", "0", "1"], None, set()),
        (["-1", "-1"], None, {"-1"}),
        (["yes", "no", "-1"], None, {"-1"}),
        (["0.5", "-1"], "regression", set()),
    ],
)
def test_placeholders_of_no_label(labels: Sequence[str], kind: str | None, none: set[str]) -> None:
    assert no_labels(labels, kind) == none


def test_rows_with_a_placeholder_are_left_out_and_counted(tmp_path: Path) -> None:
    table = "premise,hypothesis,gold_label\na,b,entailment\nc,d,-\ne,f,neutral\n"
    data = loaded(tmp_path, "a.csv", table, dev="premise,hypothesis,gold_label\ng,h,-1\ni,j,neutral\n")
    assert (data.labels, labels_of(data)) == (["entailment", "neutral"], ["entailment", "neutral"])
    assert data.bad.count == 0
    assert data.warnings == [
        "Rows of train with the label '-', a placeholder for none, which are left out: 1.",
        "Rows of test with the label '-1', a placeholder for none, which are left out: 1.",
    ]
    with pytest.raises(InputError, match="no usable row. Rows of train with the label '-1'"):
        loaded(tmp_path, "b.csv", "text,label\na,-1\nb,-1\n")


# other spellings


def test_labels_are_renamed_by_the_user(tmp_path: Path) -> None:
    table = "text,label\na,0\nb,1\nc,9\n"
    data = loaded(tmp_path, "a.csv", table, label_map={0: "ham", "1": "spam", "9": ""})
    assert (data.labels, labels_of(data)) == (["ham", "spam"], ["ham", "spam"])
    assert labels_of(loaded(tmp_path, "b.csv", "text,label\na,0\nb,1\n", label_names=["ham", "spam"])) == [
        "ham",
        "spam",
    ]
    with pytest.raises(InputError, match="label_map names '3', but no row of .*a.csv has this label."):
        loaded(tmp_path, "a.csv", table, label_map={"3": "x"})


def test_a_dev_file_may_spell_labels_in_another_case(tmp_path: Path) -> None:
    data = loaded(tmp_path, "a.csv", "text,label\na,Pos\nb,neg\n", dev="text,label\nc,POS\nd,pos\n")
    assert data.test is not None
    assert [example.label for example in data.test] == ["Pos", "Pos"]
    assert data.warnings == [
        "Labels 'POS' of test that are read as 'Pos': 1.",
        "Labels 'pos' of test that are read as 'Pos': 1.",
    ]
    with pytest.raises(
        InputError, match=r"Unknown label '1' in .*, line 2; train has 'Pos', 'neg'. \(label_map=\{'1': "
    ):
        loaded(tmp_path, "a.csv", "text,label\na,Pos\nb,neg\n", dev="text,label\nc,1\n")


# choices


def chosen(folder: Path, labels: Sequence[Any], **options: Any) -> tuple[list[int], str]:
    rows = [{"prompt": "p", "choices": ["a", "b", "c"], "label": label} for label in labels]
    data = loaded(folder, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows), CHOOSE, **options)
    return labels_of(data), data.read_as


def test_choices_numbered_from_1(tmp_path: Path) -> None:
    why = " (no label is 0, and some equal the number of choices)"
    line = "choices = choices; prompt = prompt; label = label; choices counted from "
    assert chosen(tmp_path, [1, 3, 2]) == ([0, 2, 1], line + "1" + why)
    assert chosen(tmp_path, [1, 2]) == ([1, 2], line + "0")
    assert chosen(tmp_path, [1, 2], first_choice=1) == ([0, 1], line + "1")
    assert chosen(tmp_path, ["A", "c"]) == ([0, 2], line + "0")
    with pytest.raises(InputError, match=r"from 0 to 2 \(first_choice=1 counts from 1\), a letter"):
        chosen(tmp_path, [0, 3])
    with pytest.raises(InputError, match="first_choice=2 is not possible: choices are numbered from 0 or from 1"):
        chosen(tmp_path, [1, 2], first_choice=2)


def test_classes_that_may_be_missing_values_or_equal_are_reported(tmp_path: Path) -> None:
    rows = "text,label\na,Positive\nb,positive\nc,negative\nd,NaN\n"
    data = loaded(tmp_path, "a.csv", rows)
    assert data.labels == ["NaN", "Positive", "negative", "positive"]
    doubt, twins = data.warnings
    assert doubt == "NaN is read as a class; label_map={'NaN': ''} leaves out such rows as unlabelled."
    assert twins == "'Positive' and 'positive' are two classes; label_map={'Positive': 'positive'} makes them one."
    mapped = loaded(tmp_path, "a.csv", rows, label_map={"NaN": "", "Positive": "positive"})
    assert mapped.labels == ["negative", "positive"]


# whole numbers with a decimal point


def test_stars_with_a_decimal_point_are_whole_numbers_and_reported(tmp_path: Path) -> None:
    data = loaded(tmp_path, "a.csv", "text,stars\na,1.0\nb,5.0\nc,4\n", dev="text,stars\nd,5\ne,4.0\n")
    assert (data.labels, labels_of(data)) == (["1", "4", "5"], ["1", "5", "4"])
    assert [example.label for example in data.test or ()] == ["5", "4"]
    assert data.read_as == "text = text; label = stars; one label (1.0 is read as 1), 3 classes: 1, 4, 5"
    named = loaded(tmp_path, "b.csv", "text,stars\na,1.0\nb,5.0\n", label_map={"1": "bad", "5.0": "good"})
    assert named.labels == ["bad", "good"]


def test_versions_keep_their_points(tmp_path: Path) -> None:
    data = loaded(tmp_path, "a.csv", "text,label\na,1.0\nb,2.0\nc,beta\n")
    assert data.labels == ["1.0", "2.0", "beta"]


@pytest.mark.parametrize(("known", "written"), [(["1", "5"], "1.0"), (["1.0", "5.0"], "1"), (["1.0", "5.0"], "1.0")])
def test_both_spellings_of_a_number_match_a_models_label(known: list[str], written: str) -> None:
    labelling = SCHEMAS[CLASSIFY].find_labelling([written], LabelOptions(), Columns())
    assert labelling.restrict(known, "the model").normalize(written, "row 0", "data", Counter()) == known[0]


def test_minus_one_among_numbers_is_a_class_and_its_warning_names_regression(tmp_path: Path) -> None:
    data = loaded(tmp_path, "a.csv", "text,label\na,-1\nb,0\nc,1\n")
    assert (data.kind, data.labels) == ("single-label", ["-1", "0", "1"])
    assert data.warnings == [
        "-1 is read as a class; label_map={'-1': ''} leaves out such rows as unlabelled, and "
        "kind='regression' learns numbers."
    ]
