"""Files and objects → records: every format, every kind of damage with its line, and round trips."""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.data import BadRows, Format, Record, records, stream_records
from bertie.data.records import digests_of
from bertie.errors import BertieError, InputError, InputTypeError


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def fields(source: Any, **options: Any) -> list[Any]:
    return [dict(record.fields) for record in records(source, **options)]


def places(source: Any, **options: Any) -> list[str]:
    return [record.where.rpartition("/")[2] for record in records(source, **options)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text,label\none,1\n", [{"text": "one", "label": "1"}]),
        ("a.csv", b'\xef\xbb\xbftext,label\r\n"a ""b"",\nc",1\r\n\r\nd\x00,2', [
            {"text": 'a "b",\nc', "label": "1"}, {"text": "d\x00", "label": "2"}]),
        ("a.csv", "text;label\na, b;1\n", [{"text": "a, b", "label": "1"}]),
        ("a.csv", ",text\n0,one\n1,two\n", [{"text": "one"}, {"text": "two"}]),
        ("a.csv", "\n text , label\none,1\n", [{"text": "one", "label": "1"}]),
        ("a.csv", "text,label\none,1\n  \n\n", [{"text": "one", "label": "1"}]),
        ("a.tsv", "text\tlabel\none, two\t1\n", [{"text": "one, two", "label": "1"}]),
        ("a.jsonl", '{"text": "one", "label": [1]}\n\n{}', [{"text": "one", "label": [1]}, {}]),
        ("a.ndjson", '{"a": null}\n', [{"a": None}]),
        ("a.txt", "one\r\n\ntwo", [{"text": "one"}, {"text": ""}, {"text": "two"}]),
        ("a.conll", "-DOCSTART- -X- O\n\nEU NNP B-ORG\nsaid VBD O\n\n\n\u00a0 SP O\n", [
            {"words": ["EU", "said"], "2": ["NNP", "VBD"], "tags": ["B-ORG", "O"]},
            {"words": ["\u00a0"], "2": ["SP"], "tags": ["O"]}]),
        ("a.conll", "New York\tB-LOC\r\n.\tO\r\n", [{"words": ["New York", "."], "tags": ["B-LOC", "O"]}]),
        ("a.json", '[{"a": 1},\n{"a": 2}]', [{"a": 1}, {"a": 2}]),
        ("a.json", '{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ("a.json", '{"version": 1,\n"data": [{"a": 1}]}', [{"a": 1}]),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, name: str, content: str | bytes, expected: list[Any]) -> None:
    assert fields(written(tmp_path, name, content)) == expected


def test_a_row_is_located_by_its_first_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", 'text,label\n"one\ntwo",1\n\nthree,2\n')
    assert places(path) == ["a.csv, line 2", "a.csv, line 5"]
    assert places(written(tmp_path, "a.jsonl", "{}\n\n{}\n")) == ["a.jsonl, line 1", "a.jsonl, line 3"]
    assert places(written(tmp_path, "a.conll", "\na O\nb O\n\nc O\n")) == ["a.conll, line 2", "a.conll, line 5"]


def test_squad(tmp_path: Path) -> None:
    answer = {"text": "is", "answer_start": 2}
    questions = [{"id": "q", "question": "what?", "answers": [answer]}, {"id": "r", "is_impossible": True}]
    path = written(
        tmp_path,
        "a.json",
        json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "C is", "qas": questions}, 7]}]}),
    )
    bad = BadRows("skip")
    first, second = records(path, "squad", bad)
    assert first.fields == {"title": "T", "context": "C is", "id": "q", "question": "what?", "answers": [answer]}
    assert second.fields == {"title": "T", "context": "C is", "id": "r", "is_impossible": True}
    assert second.where == f"{path}, question r"
    assert bad.sentences == [f"Paragraph 1 of article 0 in {path} is not an object with a 'context' and a list 'qas'."]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_compressed(tmp_path: Path, suffix: str, pack: Any) -> None:
    packed = pack(b"text,label\n" + b"one,1\n" * 20_000)
    assert len(fields(written(tmp_path, f"a.csv{suffix}", packed))) == 20_000
    with pytest.raises(InputError, match="a.csv.* cannot be read after line"):
        fields(written(tmp_path, f"a.csv{suffix}", packed[: len(packed) // 2]))


def test_parquet_and_the_objects_of_other_packages(tmp_path: Path) -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    pytest.importorskip("pyarrow")
    import numpy

    frame = pandas.DataFrame({"text": ["a", None], "score": [1.5, float("nan")], "words": [["x"], ["y", "z"]]})
    expected = [{"text": "a", "score": 1.5, "words": ["x"]}, {"text": None, "score": None, "words": ["y", "z"]}]
    assert fields(frame) == expected
    frame.to_parquet(tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet") == expected
    assert places(tmp_path / "a.parquet") == ["a.parquet, row 0", "a.parquet, row 1"]
    array = frame.words.map(numpy.array)
    assert fields([{"text": float("nan"), "words": array[1], "n": numpy.int64(3)}]) == [
        {"text": None, "words": ["y", "z"], "n": 3}
    ]
    features = datasets.Features(
        {
            "label": datasets.ClassLabel(names=["neg", "pos"]),
            "tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-X"])),
        }
    )
    split = datasets.Dataset.from_dict({"label": [1, -1], "tags": [[0, 1], []]}, features=features)
    assert fields(split) == [{"label": "pos", "tags": ["O", "B-X"]}, {"label": None, "tags": []}]
    assert places(split, name="dev") == ["row 0 of dev", "row 1 of dev"]
    with pytest.raises(InputTypeError, match="The data are a mapping with 'train': choose one of them"):
        records(datasets.DatasetDict({"train": split})).__next__()
    assert fields({"a": number} for number in range(2)) == [{"a": 0}, {"a": 1}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "FILE has no header: its first line must name the columns, as in text,label."),
        ("a.csv", ",,\n", "FILE has no header: its first line must name the columns, as in text,label."),
        ("a.csv", "text,,label\n", "Column 2 of FILE has no name in the header; the first line must name each."),
        ("a.csv", "text,text\n", "Two columns of FILE are called 'text'; give each a name of its own."),
        ("a.csv", b"\xff\xfet\x00\n\x00e", "Line 2 of FILE is not utf-16 text (byte 0x65 at offset 6); name its "
            "encoding, such as encoding='cp1252', or save it as UTF-8."),
        ("a.csv", b"t\x00e\x00\n\x00", "The header of FILE holds NUL characters; name its encoding, such "
            "as encoding='utf-16-le', or save it as UTF-8."),
        ("a.csv", b"text\xff\n", "Line 1 of FILE is not UTF-8 text (byte 0xFF at offset 4); name its "
            "encoding, such as encoding='cp1252', or save it as UTF-8."),
        ("a.csv", "text\none\nПривет\n".encode("cp1251"), "Line 3 of FILE is not UTF-8 text (byte 0xCF at offset 9); "
            "name its encoding, such as encoding='cp1252', or save it as UTF-8."),
        ("a.csv", "a,b\n1,2\n3\n", "Line 3 of FILE has 1 cell where the header names 2: 'a', 'b'."),
        (
            "a.csv",
            '"a","b"\n"x\ny",2\nbut, why,2\n',
            "Line 4 of FILE has 3 cells where the header names 2: 'a', 'b' "
            "(a text that contains the delimiter must be quoted).",
        ),
        (
            "a.csv",
            'a,b\n1,2\n"open,2\n',
            "Line 3 of FILE does not begin a row of a table: unexpected end of data. A text with quotation marks must "
            'be quoted, and its own marks doubled: "say ""hi"""; if they are plain text, say '
            "quoting='none'.",
        ),
        ("a.xlsx", b"PK\x03\x04\x14\0", "FILE is an Excel workbook or another zip archive; save the table as CSV, or "
            "unpack the archive."),
        ("a.csv", b"PAR1\x15\0", "FILE is a Parquet file; its name must end in .parquet."),
        ("a.pdf", "%PDF-1.7\n", "FILE is a PDF; save its text as plain text."),
        ("a.csv", "a,b\n1\r2,3\n", "Line 2 of FILE has a carriage return within a row; save the file with line feeds."),
        ("a.jsonl", "{}\n[1]\n", 'Line 2 of FILE is not a JSON object with named fields, as in {"text": …}.'),
        ("a.jsonl", "{}\n{\n", "Line 2 of FILE is not JSON: Expecting property name enclosed in double quotes: "
            "line 2 column 1 (char 2)."),
        ("a.conll", "EU B-ORG\nNew York B-LOC\n", "Line 2 of FILE has 3 columns, but the first line has 2."),
        ("a.json", "{\n", "FILE is not JSON: Expecting property name enclosed in double quotes: line 2 column 1 (char "
            "2); JSON lines belong in a .jsonl file."),
        ("a.json", "[3]", "Item 0 of FILE is a int, not an object with named fields."),
        ("a.json", '{"data": 3}', "FILE has neither SQuAD's layout (an object whose 'data' is a list) nor a list of "
            "objects."),
        ("a.json", '{\n"text": 3}', "FILE has neither SQuAD's layout (an object whose 'data' is a list) nor a list of "
            "objects."),
        ("a.xyz", None, "The file 'FILE' cannot be read: No such file or directory."),
        ("a.parquet", "PAR?", "The file 'FILE' cannot be read as Parquet: Parquet file size is 4 bytes, smaller than "
            "the minimum file footer (8 bytes)."),
        ("a.csv.gz", "text\n", "FILE cannot be read after line 0: Not a gzipped file (b'te')."),
    ],
)  # fmt: skip
def test_damage_is_one_sentence(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        written(tmp_path, name, content)
    with pytest.raises(InputError) as error:
        fields(path)
    assert str(error.value).replace(str(path), "FILE") == message


@pytest.mark.parametrize("text", ["PAR1 receptors bind thrombin.", "SQLite format 3 is a format of files."])
def test_a_text_may_begin_like_a_signature(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{text}\nsecond\n", encoding="utf-8")
    assert fields(path) == [{text: "second"}]


def test_only_bad_rows_are_skipped(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n"open,2\n3,4\n5\n\xff,6\n"7\n\xff",8\n9,10\n'
    bad = BadRows("skip")
    path = written(tmp_path, "a.csv", content)
    assert fields(path, bad=bad) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "9", "b": "10"}]
    assert sorted(sentence.partition(" of ")[0] for sentence in bad.sentences) == [
        "Line 3",
        "Line 5",
        "Line 6",
        "Line 8",
    ]
    assert bad.summary().startswith("4 bad rows were left out:\n  Line 6 of ")
    bad = BadRows("skip")
    path = written(tmp_path, "a.conll", b"a O\nb\nc O\n\n\xff O\nd O\n\ne O\n")
    assert fields(path, bad=bad) == [{"words": ["e"], "tags": ["O"]}]
    assert bad.count == 2
    bad = BadRows("skip")
    assert fields([{"a": 1}, 7], bad=bad, name="train") == [{"a": 1}]
    assert bad.sentences == ["Row 1 of train is a int, not a dict from column to value."]


def test_bad_rows_keep_the_first_sentences() -> None:
    bad = BadRows("skip")
    for number in range(1234):
        bad.add(f"Row {number} is bad.")
    assert (bad.count, len(bad.sentences)) == (1234, 20)
    assert bad.summary().startswith("1,234 bad rows were left out; the first 20:\n  Row 0 is bad.\n")
    assert BadRows().summary() == ""
    with pytest.raises(InputError, match="on_bad_row is 'skipp'; it must be 'error' or 'skip'. Did you mean 'skip'?"):
        BadRows("skipp")


def test_other_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no format 'cvs'; choose one of .* Did you mean 'csv'?"):
        records(tmp_path / "a", "cvs")
    with pytest.raises(InputError, match="standard input cannot be read as parquet, which needs a file"):
        stream_records(io.BytesIO(), "standard input", "parquet")
    for source in (7, b"abc"):
        with pytest.raises(InputTypeError, match="they must be the path of a file, a split of a datasets.DatasetDict"):
            list(records(source))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(BertieError, match="Reading Parquet files needs pyarrow"):
        list(records(tmp_path / "a.parquet"))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertie.data.lines import Lines

    lines = Lines(io.BytesIO(b"x" * 50), "a.txt", BadRows(), Format(), [], limit=20)
    with pytest.raises(InputError, match="a.txt has a row of more than 0 MB at line 1; is it a text file"):
        next(lines)


CELLS = st.text(st.characters(codec="utf-8"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.booleans())
def test_csv_is_read_back(rows: list[tuple[str, str]], marked: bool) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *rows])
    stream = io.BytesIO((b"\xef\xbb\xbf" if marked else b"") + file.getvalue().encode())
    found = list(stream_records(stream, "a.csv", "csv"))
    assert [tuple(record.fields.values()) for record in found] == rows
    assert all(isinstance(record, Record) for record in found)


@given(st.lists(st.dictionaries(CELLS, st.none() | st.booleans() | CELLS | st.lists(st.integers())), max_size=5))
def test_json_is_read_back(rows: list[dict[str, Any]]) -> None:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    assert [dict(record.fields) for record in stream_records(io.BytesIO(content.encode()), "a", "jsonl")] == rows


@given(st.binary(max_size=200), st.sampled_from(["csv", "tsv", "jsonl", "json", "conll", "lines"]))
def test_any_bytes_are_at_worst_an_input_error(content: bytes, form: str) -> None:
    with contextlib.suppress(InputError):
        list(stream_records(io.BytesIO(content), "a", form, BadRows("skip")))


REAL = [
    ("sentiment/{}.csv", 8_529, 1_066, {"text", "label"}),
    ("reviews/{}.csv", 1_600, 200, {"text", "label"}),
    ("emotions/{}.csv", 43_410, 5_426, {"text", "labels"}),
    ("entities/{}.conll", 3_394, 1_009, {"words", "tags"}),
    ("similarity/{}.csv", 5_749, 1_500, {"sentence1", "sentence2", "score"}),
    ("questions/{}.json", 838, 170, {"id", "title", "question", "context", "answers"}),
]


@pytest.mark.parametrize(("name", "train", "dev", "columns"), REAL, ids=[row[0].partition("/")[0] for row in REAL])
def test_real_files(shared: Path, name: str, train: int, dev: int, columns: set[str]) -> None:
    for part, count in (("train", train), ("dev", dev)):
        found = list(records(shared / "data" / name.format(part)))
        assert len(found) == count
        assert all(set(record.fields) == columns for record in found)


def test_a_real_compressed_file(shared: Path) -> None:
    assert len(fields(shared / "data" / "languages.jsonl.xz")) == 194


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "large.csv"
    row = '"' + "some words, and a few more of them " * 10 + '",positive\n'
    with path.open("w") as file:
        file.write("text,label\n")
        for _ in range(200 * 2**20 // len(row)):
            file.write(row)
    tracemalloc.start()
    count = sum(1 for _ in records(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200 * 2**20 // len(row)
    assert peak < 4 * 2**20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_files_have_digests_and_pipes_have_none(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "text\na\n")
    os.mkfifo(tmp_path / "pipe")
    assert digests_of([file, tmp_path / "pipe"]) == {str(file): sha256(b"text\na\n").hexdigest()}
