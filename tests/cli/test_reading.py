"""Texts of a command from arguments, lines, JSON lines and tables, and errors with their line."""

import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie.cli.options import FormatOptions
from bertie.cli.reading import InputOptions
from bertie.errors import InputError
from bertie.messages import printable


def texts_of(path: Path, **more: str) -> list[str]:
    return [one.text for one in InputOptions(None, path).read(**more)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "one\r\n\ntwo é\n", ["one", "", "two é"]),
        ("a.txt", "\ufefffirst\nno newline", ["first", "no newline"]),
        ("a.jsonl", '{"text": "one\\ntwo", "id": 3}\n\n{"text": ""}\n', ["one\ntwo", ""]),
        ("a.csv", '\ufefflabel,text\n1,"one, ""two""\nthree"\n0,four\n', ['one, "two"\nthree', "four"]),
        ("a.tsv", "text\tlabel\none\t1\n", ["one"]),
        ("empty.txt", "", []),
    ],
)
def test_formats(tmp_path: Path, name: str, content: str, expected: list[str]) -> None:
    (tmp_path / name).write_bytes(content.encode())
    assert texts_of(tmp_path / name) == expected


def test_compressed_files_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\none\n"))
    assert texts_of(tmp_path / "a.csv.gz") == ["one"]
    pytest.importorskip("pyarrow.parquet").write_table(
        pytest.importorskip("pyarrow").table({"body": ["one", "two"]}), tmp_path / "a.parquet"
    )
    assert texts_of(tmp_path / "a.parquet", column="body") == ["one", "two"]


def test_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b\none,two\n")
    assert list(InputOptions(None, path).read(column="a", pair="b")) == [
        (("one", "two"), {"a": "one", "b": "two"}, f"{path}, line 2")
    ]
    path = tmp_path / "pairs.txt"
    path.write_text("one\ttwo\n")
    both = {"text": "one", "text_pair": "two"}
    assert list(InputOptions(None, path).read(pair="text_pair")) == [(("one", "two"), both, f"{path}, line 1")]
    assert [asked.text for asked in InputOptions(["a", "b", "c", "d"]).read(pair="text_pair")] == [
        ("a", "b"),
        ("c", "d"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine\n\xff\xfe\n", "Line 2 of .* is not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', "Line 2 of .* is not JSON"),
        ("a.jsonl", b"[" * 100_000, "Line 1 of .* is not JSON"),
        ("a.jsonl", b'["a"]\n', "Line 1 of .* not a JSON object"),
        (
            "a.jsonl",
            b'{"text": null, "body": "x"}\n',
            "no text in 'text' of .*a.jsonl, line 1; the fields are 'text', 'body'",
        ),
        ("a.csv", b"label,body\n1,x\n", "no text in 'text' of .*a.csv, line 2; the fields are 'label', 'body'"),
        ("a.csv", b"label,text\n1\n", "Line 2 of .* has 1 cell where the header names 2: 'label', 'text'"),
        ("a.csv", b'text,label\nfine,x\n"open,y\nlost,z\n', "Line 3 of .* does not begin a row of a table"),
        ("a.tsv", b'text\tlabel\n"Open," he said\tx\nlost\n', "Line 2 of .* does not begin a row of a table"),
    ],
)
def test_faults_have_their_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        texts_of(tmp_path / name)


def test_other_faults(tmp_path: Path) -> None:
    for source, more, message in (
        (InputOptions(None, tmp_path / "none.txt"), {}, "cannot be read: No such file"),
        (InputOptions(None, tmp_path), {}, "has no data files"),
        (InputOptions(["a"], tmp_path), {}, "not both"),
        (InputOptions(None, None), {"form": FormatOptions("xml")}, "no format 'xml'"),
        (InputOptions(["a"]), {"pair": "b"}, "two by two, and 1"),
    ):
        with pytest.raises(InputError, match=message):
            list(source.read(**more))


def test_an_unknown_format_is_refused_with_arguments_too(run: Callable[..., Any]) -> None:
    ran = run("embed", "a", "--format", "xml")
    assert ran.code == 2
    assert "no format 'xml'" in ran.err


def test_standard_input_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n{"broken')))
    texts = InputOptions().read(FormatOptions("jsonl"))
    assert next(texts).text == "a"  # before the broken line is reached


def test_41_control_characters_are_escaped() -> None:
    assert printable("\x1b[31mred\x07 \x9b31m \u202eevil\u2066 tab\t") == (
        r"\u001b[31mred\u0007 \u009b31m \u202eevil\u2066 tab\u0009"
    )
    assert printable("plain é 中 😀") == "plain é 中 😀"
