"""``bertie distil``: a student in a folder and its metrics, or an error and no folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import TINY

import bertie
from bertie.compression import check

Run = Callable[..., Any]


@pytest.fixture
def tagger(minilm: Path, tmp_path: Path) -> Path:
    bertie.BertForTokenClassification(bertie.BertConfig(**TINY)).save_pretrained(tmp_path / "tagger")
    bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "tagger")
    return tmp_path / "tagger"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.conll"
    path.write_text("Ada\tB-PER\nmet\tO\nCharles\tB-PER\n\n" * 8)
    return path


def test_a_tagger(run: Run, tagger: Path, words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_rates", lambda models, texts, rounds: [1.0, 2.0])
    line = ("distil", tagger, "--texts", words, "--out", tmp_path / "student", "--layers", "1", "--steps", 2)
    ran = run(*line, "--set", "lr=1e-3", "--min-cosine", 0, "--min-agreement", 0)
    assert ran.code == 0, ran.err
    (record,) = ran.records
    assert (record["model"], record["speed_up"]) == (str(tmp_path / "student"), 2.0)
    assert "predictions" in ran.err
    assert run("tag", "-m", tmp_path / "student", "Ada met Charles.").code == 0


def test_refused(run: Run, tagger: Path, words: Path, tmp_path: Path) -> None:
    for options, message in (
        (["--layers", "two"], "--layers is 'two'; write a number, or several separated by commas: 1,3,5."),
        (["--layers", "1,7"], "--layers is [1, 7]; name some of the teacher's 2, from 0 to 1"),
        (["--losses", "answer"], "There is no loss 'answer'"),
        (["--width", "8"], "--width is for --static only"),
        (["--static"], "--static reads no texts and trains nothing; leave --texts out"),
        (["--set", "lr=fast"], "learning_rate is 'fast'"),
    ):
        ran = run("distil", tagger, "--texts", words, "--out", tmp_path / "student", *options)
        assert ran.code == 2
        assert message in ran.err
    for option in (["--force"], ["--column", "text=text"], ["--format", "csv"]):
        ran = run("distil", tagger, "--static", "--out", tmp_path / "student", *option)
        assert (ran.code, f"leave {option[0]} out" in ran.err) == (2, True)
    assert not (tmp_path / "student").exists()
    ran = run("distil", tagger, "--out", tmp_path / "student")
    assert (ran.code, "--texts is missing: name a file of texts to learn from; only --static" in ran.err) == (2, True)
