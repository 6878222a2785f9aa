"""What readers guess about a file (encoding, delimiter, quoting, several files as one), and their notes on it."""

from pathlib import Path
from typing import Any

import pytest

from bertie.data import BadRows, Format, records
from bertie.errors import BertieError, InputError


def read(source: Any, form: Any = None) -> tuple[list[dict[str, Any]], str]:
    found = records(source, form)
    rows = [dict(record.fields) for record in found]
    return rows, " ".join(found.notes)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


TEXT = "text,label\nça va très bien,1\nfine,0\n"


@pytest.mark.parametrize(
    ("content", "form", "note"),
    [
        (TEXT.encode("cp1252"), None, "a.csv is not UTF-8; it is read as cp1252 (encoding names another)."),
        (TEXT.encode("utf-16"), None, "a.csv is read as UTF-16 because of its byte-order mark."),
        (b"\xff\xfe" + TEXT.replace("\n", "\r\n").encode("utf-16-le"), None, "a.csv is read as UTF-16 because"),
        (TEXT.encode("utf-32"), None, "a.csv is read as UTF-32 because of its byte-order mark."),
        (TEXT.encode("utf-16-le"), Format(encoding="utf-16-le"), ""),
        (TEXT.encode("mac_roman"), Format(encoding="mac_roman"), ""),
        (TEXT.encode("utf-8-sig"), Format("csv", encoding="utf-8"), ""),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, form: Any, note: str) -> None:
    rows, notes = read(written(tmp_path, "a.csv", content), form)
    assert rows == [{"text": "ça va très bien", "label": "1"}, {"text": "fine", "label": "0"}]
    assert (note in notes) if note else (notes == "")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Привет, мир", "cp1251"),
        ("Příliš žluťoučký kůň", "cp1250"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Türkçe ağaç ışık şu", "cp1254"),
        ("été à Paris", "mac_roman"),
        ("été à Paris", "cp850"),
        ("日本語のテキスト", "shift_jis"),
        ("中文文本", "gb18030"),
        ("Καλημέρα", "cp1253"),
    ],
)
def test_other_encodings_must_be_named(tmp_path: Path, text: str, encoding: str) -> None:
    path = written(tmp_path, "a.txt", f"plain\n{text}\n".encode(encoding))
    with pytest.raises(
        InputError,
        match=r"Line 2 of .* is not UTF-8 text \(byte 0x.. at offset \d+\); name its encoding, such as encoding='",
    ):
        read(path)
    assert read(path, Format(encoding=encoding)) == ([{"text": "plain"}, {"text": text}], "")


def test_a_damaged_line_in_utf_8_does_not_change_the_encoding(tmp_path: Path) -> None:
    path = written(tmp_path, "a.txt", "naïve\n".encode() + "été\n".encode("cp1252") + b"fine\n")
    bad = BadRows("skip")
    assert [record.fields["text"] for record in records(path, None, bad)] == ["naïve", "fine"]
    assert bad.count == 1


@pytest.mark.parametrize(
    ("name", "content", "form", "note"),
    [
        ("a.csv", "text|label\na, b|1\nc; d|0\n", None, "a.csv are separated by bars (delimiter names others)."),
        ("a.csv", "text;label\na, b;1\nc, d;0\n", None, "a.csv are separated by semicolons"),
        ("a.csv", "text\tlabel\na, b\t1\nc\t0\n", None, "a.csv are separated by tabs"),
        ("a.csv", 'text;label,score\n"a, b";1\nc;0\n', None, "a.csv are separated by semicolons"),
        ("a.tsv", 'text,label\n"a, b",1\nc,0\n', None, "a.tsv are separated by commas"),
        ("a.csv", "text~label\na~1\nc~0\n", Format(delimiter="~"), ""),
        ("a.csv", "text|label\na|1\nc\n", Format("csv", delimiter="|"), None),
    ],
)
def test_delimiters(tmp_path: Path, name: str, content: str, form: Any, note: str | None) -> None:
    path = written(tmp_path, name, content)
    if note is None:
        with pytest.raises(InputError, match="has 1 cell where the header names 2"):
            read(path, form)
        return
    rows, notes = read(path, form)
    assert [list(row.values())[1] for row in rows] == ["1", "0"]
    assert (note in notes) if note else (notes == "")


def test_bars_that_do_not_split_rows_evenly_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text|label\none\ntwo|1\n")
    with pytest.raises(InputError, match=r"header of .* is 'text\|label', and bars do not split all rows alike: name"):
        read(path)
    assert read(path, Format(delimiter=","))[0] == [{"text|label": "one"}, {"text|label": "two|1"}]


def test_quotation_marks_are_text_if_only_lines_are_complete_rows(tmp_path: Path) -> None:
    lines = ['good"\t5', '"It was late\t0', 'and ""late""\t1', 'it ended"\t2']
    content = "sentence\tscore\n" + "\n".join(lines) + "\n"
    rows, notes = read(written(tmp_path, "a.tsv", content))
    assert rows == [dict(zip(("sentence", "score"), line.split("\t"), strict=True)) for line in lines]
    assert "a.tsv is read with quotation marks as text (quoting='csv' reads them as CSV)." in notes
    # the lines are complete rows, although csv would join two of them into one row with as many cells
    rows, _ = read(written(tmp_path, "b.tsv", 'text\tlabel\n"It was\t0\nlate"\t1\n'))
    assert rows == [{"text": '"It was', "label": "0"}, {"text": 'late"', "label": "1"}]


def test_quotation_marks_quote_if_they_complete_rows(tmp_path: Path) -> None:
    for text in ('It "was"\nlate', 'It "was" late', "It\twas"):
        quoted = text.replace('"', '""')
        rows, notes = read(written(tmp_path, "a.tsv", f'text\tlabel\nIt was\t0\n"{quoted}"\t1\n'))
        assert (rows, notes) == ([{"text": "It was", "label": "0"}, {"text": text, "label": "1"}], "")
    rows, _ = read(written(tmp_path, "a.csv", 'text,label\n"It was,0\n'), Format(quoting="none"))
    assert rows == [{"text": '"It was', "label": "0"}]
    with pytest.raises(InputError, match="does not begin a row of a table"):
        read(written(tmp_path, "a.tsv", 'text\tlabel\n"It was\t0\n'), Format(quoting="csv"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delimiter": "||"}, "The delimiter is '||'; it must be one character"),
        ({"encoding": "utf8-mb4"}, "There is no encoding 'utf8-mb4'; common ones are utf-8"),
        ({"encoding": "base64"}, "There is no encoding 'base64'"),
        ({"quoting": "nono"}, "quoting is 'nono'; it must be 'csv' or 'none'."),
    ],
)
def test_formats_that_do_not_exist(given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as error:
        Format(**given)
    assert str(error.value).startswith(message)


def test_several_files_are_read_in_order(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        written(tmp_path, f"train-{number:02}.jsonl", f'{{"text": "{number}"}}\n')
    written(tmp_path, "notes.md", "nothing")
    written(tmp_path, ".hidden.jsonl", "{}")
    first, second, third = (tmp_path / f"train-{number:02}.jsonl" for number in (1, 2, 10))
    told = f"3 files are read as one: {first}, {second}, {third}."
    for source in (tmp_path, tmp_path / "train-*.jsonl", str(tmp_path / "train-*.jsonl")):
        assert read(source) == ([{"text": "1"}, {"text": "2"}, {"text": "10"}], told)
    assert read([third, str(first)])[0] == [{"text": "10"}, {"text": "1"}]
    written(tmp_path, "test.csv", "text\na\n")
    for source, message in (
        (tmp_path, "holds test and train; name one of its files, or a pattern such as 'train.*'"),
        (tmp_path / "dev-*", "No file matches the pattern"),
    ):
        with pytest.raises(InputError, match=message):
            read(source)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no data files"):
        read(tmp_path / "empty")


def test_zstandard(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    frame = zstandard.ZstdCompressor().compress(b"text\n" + b"one\n" * 50_000)
    more = zstandard.ZstdCompressor().compress(b"two\n")
    rows, _ = read(written(tmp_path, "a.csv.zst", frame + more))
    assert (len(rows), rows[-1]) == (50_001, {"text": "two"})
    for content in (frame[: len(frame) // 2], b"no frame at all"):
        with pytest.raises(InputError, match=r"a.csv.zst cannot be read after line"):
            read(written(tmp_path, "a.csv.zst", content))


def test_zstandard_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(BertieError, match=r"Reading .zst files needs zstandard.*pip install 'bertie\[zstd\]'"):
        read(written(tmp_path, "a.csv.zst", b""))


def test_unnamed_columns_of_excel(tmp_path: Path) -> None:
    rows, notes = read(written(tmp_path, "spam.csv", "v1,v2,,\nham,hi,,\nspam,win,more,\n"))
    assert rows == [{"v1": "ham", "v2": "hi"}, {"v1": "spam", "v2": "win"}]
    assert "spam.csv without a name in the header are not read: 3, 4." in notes


def test_excels_declaration_of_the_delimiter(tmp_path: Path) -> None:
    rows, notes = read(written(tmp_path, "a.csv", "\ufeffsep=;\r\ntext;label\r\none, two;1\r\n"))
    assert (rows, notes) == ([{"text": "one, two", "label": "1"}], "")


@pytest.mark.parametrize(
    "content",
    [
        "Ada\tB-per\nmet\tO\n\nBo\tB-per\n",
        "#\thttp://example.org [2010]\n1\tAda\tB-per\tO\n2\tmet\tO\tO\n\n#\tx\n1\tBo\tB-per\tO\n",
    ],
)
def test_a_tsv_file_of_words_is_conll(tmp_path: Path, content: str) -> None:
    rows, notes = read(written(tmp_path, "a.tsv", content))
    assert [(row["words"], row["tags"]) for row in rows] == [(["Ada", "met"], ["B-per", "O"]), (["Bo"], ["B-per"])]
    assert "a.tsv is read as CoNLL, one word per line (format='tsv' reads a table)." in notes


def test_a_named_format_is_not_guessed_to_be_conll(tmp_path: Path) -> None:
    rows, _ = read(written(tmp_path, "a.tsv", "words\ttags\nAda\tB-per\n\nBo\tB-per\n"), "tsv")
    assert rows == [{"words": "Ada", "tags": "B-per"}, {"words": "Bo", "tags": "B-per"}]


def test_a_table_with_blank_lines_is_still_a_table(tmp_path: Path) -> None:
    for content in ("text\tlabel\n\ngood\tpos\n\nbad\tneg\n", "text\tlabel\na good one\tpos\n\nbad\tneg\n"):
        rows, _ = read(written(tmp_path, "a.tsv", content))
        assert [row["label"] for row in rows] == ["pos", "neg"]
