"""Records as JSON lines, tables and other forms, which the name of the file says."""

import io
import json
from pathlib import Path

import pytest

from bertie.writing import form_of_output, writer


@pytest.mark.parametrize(
    ("name", "form", "is_said"),
    [
        ("a.csv", "csv", False),
        ("a.TSV", "tsv", False),
        ("a.jsonl", "jsonl", False),
        ("a.ndjson", "jsonl", False),
        ("answers", "jsonl", False),
        ("a.conll", "conll", False),
        ("a.parquet", "jsonl", True),
        ("a.json", "jsonl", True),
    ],
)
def test_the_form_follows_the_name(name: str, form: str, is_said: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert form_of_output(Path(name), more=("conll",)) == form
    assert bool(caplog.messages) == is_said
    assert form_of_output(Path(name), "csv") == "csv"


def test_an_ending_that_the_records_cannot_have_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert form_of_output(Path("a.conll")) == "jsonl"
    assert caplog.messages == [
        "a.conll is written as JSON lines; other forms follow from the endings .ndjson, .jsonl, .csv, .tsv."
    ]


@pytest.mark.parametrize(("form", "mark"), [("csv", ","), ("tsv", "\t")])
def test_tables(form: str, mark: str) -> None:
    out = io.StringIO()
    writer(form, out).write({"text": 'a "b"', "score": 1.5})
    assert out.getvalue() == f'text{mark}score\n"a ""b"""{mark}1.5\n'


def test_what_is_no_number_is_null_in_json() -> None:
    out = io.StringIO()
    writer("jsonl", out).write({"a": float("nan"), "b": [float("inf"), 1.0], "c": "x"})
    assert json.loads(out.getvalue()) == {"a": None, "b": [None, 1.0], "c": "x"}
