"""Documents of files: how they are separated, and the notes on guesses."""

import gzip
from pathlib import Path

import pytest

from bertie.data import running_text
from bertie.data.running_text import Documents
from bertie.errors import InputError

TEXT = "One.\nTwo.\n\n \nThree.\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(TEXT, "utf-8")
    return path


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("files", ["One.\nTwo.\n\n \nThree."]),
        ("blank-lines", ["One.\nTwo.", "Three."]),
        ("lines", ["One.", "Two.", "", " ", "Three."]),
    ],
)
def test_plain_text_is_split_as_named(unit: str, expected: list[str], file: Path) -> None:
    documents = Documents([str(file)], unit=unit)
    assert list(documents) == expected
    assert documents.notes == []


def test_guesses_are_reported(file: Path) -> None:
    documents = Documents([str(file)])
    assert list(documents) == ["One.\nTwo.", "Three."]
    assert documents.notes == [f"blank lines separate the documents of {file}; --documents changes that."]
    (file.parent / "b.txt").write_text("Four.", "utf-8")
    documents = Documents([str(file.parent)])
    assert list(documents) == ["One.\nTwo.\n\n \nThree.", "Four."]
    assert documents.notes == ["each text file is a document; --documents changes that."]


def test_rows_are_documents_even_among_text_files(file: Path) -> None:
    packed = file.parent / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"body": "Five."}\n{"body": "Six."}\n'))
    assert list(Documents([str(packed), str(file)], column="body")) == ["Five.", "Six.", "One.\nTwo.", "Three."]
    with pytest.raises(InputError, match=r"There is no text in 'text' of .*b.jsonl.gz, line 1; the fields are 'body'"):
        list(Documents([str(packed)]))


def test_what_cannot_be_read_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--documents is 'line'; choose one of files, blank-lines, lines"):
        Documents([str(file)], unit="line")
    (file.parent / "binary.txt").write_bytes(b"\x00\x01\xff\xfe\x80")
    with pytest.raises(InputError, match=r"binary.txt"):
        list(Documents([str(file.parent / "binary.txt")]))
    monkeypatch.setattr(running_text, "_LIMIT", 10)
    with pytest.raises(InputError, match="has more than 10 characters; say what separates documents"):
        list(Documents([str(file)], unit="files"))
