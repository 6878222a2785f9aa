"""``train-tokenizer``, ``extend-vocabulary`` and ``prepare``: from texts to a vocabulary, and to token shards."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.pretraining.shards import Corpus

Run = Callable[..., Any]


def test_texts_become_a_vocabulary_and_shards(run: Run, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(book_texts()), "utf-8")
    trained = run("train-tokenizer", book, "--size", 500, "--cased", "--special-token", "<x>", "--out", tmp_path / "t")
    assert (trained.code, trained.records) == (0, [{"tokenizer": str(tmp_path / "t"), "size": 500}])
    again = run("train-tokenizer", book, "--size", 500, "--cased", "--special-token", "<x>", "--out", tmp_path / "u")
    assert again.code == 0
    assert (tmp_path / "t" / "vocab.txt").read_bytes() == (tmp_path / "u" / "vocab.txt").read_bytes()
    into = run("train-tokenizer", book, "--size", 500, "--out", tmp_path / "t")
    assert (into.code, "is not empty; name a new one" in into.err) == (2, True)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "t")
    assert theirs.tokenize("Jim <x>") == bertie.BertTokenizer.from_pretrained(tmp_path / "t").tokenize("Jim <x>")
    assert "<x>" in theirs.tokenize("Jim <x>")

    prepared = run("prepare", book, "-t", tmp_path / "t", "--out", tmp_path / "d", "--heldout", "0.1", "--workers", 1)
    assert prepared.code == 0
    (record,) = prepared.records
    assert record["tokens"] == {part: Corpus(tmp_path / "d", part).tokens for part in ("train", "heldout")}
    assert f"bertie: blank lines separate the documents of {book}; --documents changes that." in prepared.err
    assert "bertie: 256 documents with" in prepared.err
    assert json.loads((tmp_path / "d" / "manifest.json").read_text())["sources"] == str(book)


def test_singular_of_one_document(run: Run, mini: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Jim", "utf-8")
    ran = run("prepare", tmp_path / "a.txt", "-t", mini, "--out", tmp_path / "d", "--heldout", 0, "--workers", 1)
    assert ran.err.splitlines()[1:] == [
        "bertie: 1 document with 3 characters was read; 0 duplicates and 0 empty ones left out",
        "bertie: train: 1 document, 1 sentence, 1 token",
        "bertie: heldout: 0 documents, 0 sentences, 0 tokens",
    ]


def test_errors_are_one_sentence(run: Run, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("a few words", "utf-8")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("zażółć gęślą jaźń".encode("iso8859-2"))
    for expected, *command in (
        (
            "1 time. Ask for 26 or fewer, give more text, or lower --min-frequency.",
            "train-tokenizer",
            few,
            "--size",
            999,
            "--min-frequency",
            1,
            "--out",
            tmp_path / "t",
        ),
        ("is not UTF-8", "train-tokenizer", latin, "--size", 999, "--out", tmp_path / "t"),
        ("No such file", "train-tokenizer", tmp_path / "none.txt", "--out", tmp_path / "t"),
        ("none", "prepare", few, "-t", tmp_path / "none", "--out", tmp_path / "d"),
    ):
        ran = run(*command)
        assert ran.code == 2
        assert expected in ran.err
        assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "There is no text in "),
        (b" \n\n\t\n", "There is no text in "),
        (bytes(3000), "There is no text in "),
        (
            bytes(range(256)) * 20,
            "is not UTF-8 text (byte 0x80 at offset 128); name its encoding, such as --encoding cp1252, or save it",
        ),
        (b"A good line. And two.\n\nA bad \x81 byte \x8d.\n", "Line 3 of "),
    ],
)
def test_binary_files_are_refused(run: Run, mini: Path, tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(content)
    ran = run("prepare", file, "-t", mini, "--out", tmp_path / "d", "--workers", 1)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert expected in ran.err
    assert not (tmp_path / "d").exists()
    file.write_text("A good line. And two.", "utf-8")
    assert run("prepare", file, "-t", mini, "--out", tmp_path / "d", "--workers", 1).code == 0


def test_a_guessed_encoding_is_reported(run: Run, mini: Path, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes("Ein Café in Köln – und „Müller“.".encode("cp1252"))
    ran = run("prepare", file, "-t", mini, "--out", tmp_path / "d", "--heldout", 0, "--workers", 1)
    assert f"bertie: {file} is not UTF-8; it is read as cp1252 (--encoding names another)." in ran.err
    (shard,) = Corpus(tmp_path / "d").shards
    assert bertie.BertTokenizer.from_pretrained(mini).decode(shard.ids.tolist()).startswith("ein cafe in koln")


def test_the_command_writes_a_model_that_transformers_opens(mini: Path, tmp_path: Path, run: Run) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(book_texts()), "utf-8")
    ran = run("extend-vocabulary", mini, texts, "--add", 20, "--min-frequency", 3, "--out", tmp_path / "more")
    (record,) = ran.records
    assert record["added"] == 20
    assert record["pieces_per_word"] < record["pieces_per_word_before"]
    assert "bertie: the first words added are" in ran.err
    model = transformers.BertForPreTraining.from_pretrained(tmp_path / "more")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "more")
    assert len(tokenizer) == model.config.vocab_size == 30542
    ours = bertie.BertForPreTraining.from_pretrained(tmp_path / "more").eval()
    encoded = tokenizer(book_texts()[3], return_tensors="pt")
    assert (
        encoded["input_ids"].tolist()
        == bertie.AutoTokenizer.from_pretrained(tmp_path / "more")([book_texts()[3]])["input_ids"]
    )
    with torch.no_grad():
        torch.testing.assert_close(
            ours(**encoded).prediction_logits, model.eval()(**encoded).prediction_logits, atol=1e-4, rtol=1e-4
        )


def test_guesses_about_files_are_reported(run: Run, mini: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("text;stars\n" + "the hepatocytes and the cholangiocytes;5\n" * 9, "utf-8")
    for command in (
        ("train-tokenizer", table, "--size", 50, "--out", tmp_path / "t"),
        ("extend-vocabulary", mini, table, "--add", 2, "--out", tmp_path / "m"),
        ("prepare", table, "-t", mini, "--heldout", 0, "--workers", 1, "--out", tmp_path / "d"),
    ):
        ran = run(*command)
        assert ran.code == 0
        assert f"bertie: The columns of {table} are separated by semicolons" in ran.err
    ran = run("extend-vocabulary", mini, table, "--add", 9, "--out", tmp_path / "n")
    assert ran.code == 2
    assert "or rarer ones (--min-frequency), or give more texts." in ran.err
