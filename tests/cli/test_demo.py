"""The demo: one readable screen, with answers that are right and figures that are true."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from bertie.cli import demo


@pytest.fixture
def short_book(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every eighth sentence, and those that the demo's questions are known to find."""
    book = demo.read_book()
    kept = [
        line for number, line in enumerate(book) if number % 8 == 0 or "Pieces of eight" in line or "sunshiny" in line
    ]
    monkeypatch.setattr(demo, "read_book", lambda: kept)
    return kept


def test_the_book() -> None:
    book = demo.read_book()
    assert len(book) == 3117
    assert all(len(line.split()) >= 6 for line in book)


def test_one_screen(run: Callable[..., Any], short_book: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = run("demo").out
    lines = out.splitlines()
    assert 20 <= len(lines) <= 40
    assert max(map(len, lines)) <= 100
    for question in demo.QUESTIONS:
        assert question in out
    assert "And the parrot would say, with great rapidity" in out
    assert "bright, sunshiny weather" in out
    assert f"{len(short_book):,} sentences" in out
    share = int(re.search(r"(\d+)% of the usual work never done", out)[1])  # type: ignore[index]
    assert 40 <= share <= 75


def test_a_question_of_ones_own(run: Callable[..., Any], short_book: list[str]) -> None:
    out = run("demo", "What does the parrot say?\x1b[31m").out
    assert "the parrot would say" in out
    assert "fine weather" not in out
    assert "\x1b" not in out
