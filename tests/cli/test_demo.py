"""The demo: three readable screens, with correct answers and figures."""

import lzma
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bertie.cli import demo
from bertie.data import bundled_texts
from bertie.data.bundled_texts import book_sentences
from bertie.progress import logger


@pytest.fixture
def short_book(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every eighth sentence, and those that the demo's questions are known to find."""
    book = book_sentences()
    kept = [
        line for number, line in enumerate(book) if number % 8 == 0 or "Pieces of eight" in line or "sunshiny" in line
    ]
    monkeypatch.setattr(demo, "book_sentences", lambda: kept)
    return kept


@pytest.fixture
def few_sentences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sample that trains in seconds, in an empty folder."""
    parts = []
    with bundled_texts.film_sentences() as whole:
        for path, rows in zip(whole, (48, 24), strict=True):
            parts.append(tmp_path / path.name.removesuffix(".xz"))
            with lzma.open(path, "rt", encoding="utf-8") as lines:
                parts[-1].write_text("".join(islice(lines, rows + 1)), encoding="utf-8")

    @contextmanager
    def sample() -> Iterator[tuple[Path, ...]]:
        yield tuple(parts)

    (tmp_path / "here").mkdir()
    monkeypatch.setattr(demo, "film_sentences", sample)
    monkeypatch.chdir(tmp_path / "here")


def test_three_screens(
    run: Callable[..., Any], short_book: list[str], few_sentences: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    before = logger.level
    ran = run("demo")
    assert (ran.code, ran.err, logger.level) == (0, "", before)
    out = ran.out
    lines = out.splitlines()
    assert 50 <= len(lines) <= 74
    assert max(map(len, lines)) <= 100
    for sentence in demo.MASKED:
        assert sentence in lines
    assert re.search(r"\n  0\.\d\d door   0\.\d\d \w+   0\.\d\d \w+\n", out)
    for question in demo.QUESTIONS:
        assert question in out
    assert "And the parrot would say, with great rapidity" in out
    assert "bright, sunshiny weather" in out
    assert f"{len(short_book):,} sentences" in out
    share = int(re.search(r"(\d+)% of the usual work avoided", out)[1])  # type: ignore[index]
    assert 40 <= share <= 75
    check_what_was_learned(out)


def check_what_was_learned(out: str) -> None:
    share = float(re.search(r"([\d.]+)% right on 24 sentences", out)[1])  # type: ignore[index]
    assert 20 <= share <= 100
    for sentence in demo.SENTENCES:
        assert re.search(rf"0\.\d\d (positive|negative) +{re.escape(sentence)}", out)
    for name in ("report.md", "curves.png", "confusion.png"):
        assert Path("bertie-demo", name).stat().st_size > 0
        assert f"bertie-demo/{name}: " in out
    assert 'bertie classify "What a bore." --model bertie-demo' in out


def test_nothing_is_overwritten(run: Callable[..., Any], few_sentences: None, monkeypatch: pytest.MonkeyPatch) -> None:
    book = book_sentences()[:30]
    monkeypatch.setattr(demo, "book_sentences", lambda: book)
    Path("bertie-demo").mkdir()
    monkeypatch.setattr("bertie.training.drawing.why_no_plots", lambda: "no plots")
    monkeypatch.setattr("bertie.extras.missing", lambda *_: "Drawing the plots needs matplotlib")
    out = run("demo").out
    assert list(Path("bertie-demo").iterdir()) == []
    assert "bertie-demo-2/report.md: " in out
    assert "curves.png" not in out
    assert "Drawing the plots needs matplotlib" in out
    Path("full").mkdir()
    Path("full", "letter.txt").write_text("dear")
    ran = run("demo", "--out", "full")
    assert ran.code == 2
    assert "is not empty and holds no run" in ran.err


def test_a_question_of_your_own(run: Callable[..., Any], short_book: list[str]) -> None:
    out = run("demo", "What does the parrot say?\x1b[31m").out
    assert "the parrot would say" in out
    assert "fine weather" not in out
    assert "[MASK]" not in out
    assert "\x1b" not in out
    assert "A model of your own" not in out
