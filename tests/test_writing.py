"""Records as JSON lines, tables and other formats, chosen by the file name."""

import io
import json
from pathlib import Path

import pytest

from bertie.errors import InputError
from bertie.writing import output_format, writer


@pytest.mark.parametrize(
    ("name", "form", "is_said"),
    [
        ("a.csv", "csv", False),
        ("a.TSV", "tsv", False),
        ("a.jsonl", "jsonl", False),
        ("a.ndjson", "jsonl", False),
        ("answers", "jsonl", False),
        ("a.conll", "conll", False),
        ("a.parquet", "parquet", False),
        ("a.json", "jsonl", True),
    ],
)
def test_the_format_follows_the_name(name: str, form: str, is_said: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert output_format(Path(name), more=("conll",)) == form
    assert bool(caplog.messages) == is_said
    assert output_format(Path(name), "csv") == "csv"


def test_an_unsupported_suffix_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert output_format(Path("a.conll")) == "jsonl"
    assert caplog.messages == [
        "a.conll is written as JSON lines; other formats are chosen by the suffixes "
        ".ndjson, .jsonl, .csv, .tsv, .parquet."
    ]


def test_a_workbook_is_not_written() -> None:
    with pytest.raises(
        InputError, match=r"'a.XLSX' would be a workbook, which bertie does not write; spreadsheets open"
    ):
        output_format(Path("a.XLSX"))
    assert output_format(Path("a.xlsx"), "csv") == "csv"


@pytest.mark.parametrize(("form", "mark"), [("csv", ","), ("tsv", "\t")])
def test_tables(form: str, mark: str) -> None:
    out = io.StringIO()
    table = writer(form, out)
    table.write({"text": 'a "b"', "score": 1.5})
    table.end()
    assert out.getvalue() == f'text{mark}score\n"a ""b"""{mark}1.5\n'


def test_a_table_has_exactly_the_columns_of_all_records() -> None:
    out = io.StringIO()
    table = writer("csv", out)
    for record in ({"a": 1, "b": [1.5, None]}, {"b": None, "c": "two\nlines"}, {"a": float("nan")}):
        table.write(record)
    table.end()
    assert out.getvalue() == 'a,b,c\n1,"[1.5, null]",\n,,"two\nlines"\nnan,,\n'


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.writing._CHUNK", 2)
    parquet = pytest.importorskip("pyarrow.parquet")
    records = [{"a": 1, "b": [{"c": "x", "d": 0.5}]}, {"a": None}, {"a": 2.5, "b": [], "e": True}]
    with (path := tmp_path / "a.parquet").open("w") as file:
        table = writer("parquet", file)
        for record in records:
            table.write(dict(record))
        table.end()
    every = {"a": None, "b": None, "e": None}
    assert parquet.read_table(path).to_pylist() == [every | record for record in records]
    out = writer("parquet", io.StringIO())
    out.write({"a": 1})
    large = writer("parquet", io.StringIO())
    large.write({"a": 2**70})
    with pytest.raises(InputError, match="not a table that Parquet can hold .*; write jsonl"):
        large.end()
    with pytest.raises(InputError, match="not a table that Parquet can hold .*; write jsonl"):
        out.write({"a": "x"})


def test_nan_is_null_in_json() -> None:
    out = io.StringIO()
    writer("jsonl", out).write({"a": float("nan"), "b": [float("inf"), 1.0], "c": "x"})
    assert json.loads(out.getvalue()) == {"a": None, "b": [None, 1.0], "c": "x"}
