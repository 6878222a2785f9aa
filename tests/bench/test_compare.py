"""Ways that fail are stopped and say why, and the others continue; the table's ratios are those of medians."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.bench import compare as module
from bertie.bench.compare import Figures, compare, table
from bertie.bench.ways import WAYS, Way
from bertie.compression.folder import open_model


def test_a_way_that_is_not_installed_cannot_run() -> None:
    assert not Way("other", lambda *_: None, package="no_such_package").can_run("embed")
    assert not Way("other", lambda *_: None, tasks=("classify",)).can_run("embed")
    assert {way.name for way in WAYS if way.can_run("embed")} >= {"bertie", "bertie int8"}


def test_a_way_that_fails_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, minilm: Path) -> None:
    # the worker does not know this way, so its process ends with an error
    ways = (Way("unheard-of", lambda *_: None), next(way for way in WAYS if way.name == "bertie"))
    monkeypatch.setattr(module, "WAYS", ways)
    monkeypatch.setattr(module, "PAUSE", 0)
    failed, ours = compare(open_model(str(minilm)), ["a text"], "embed", 1, threads=1, max_length=None)
    assert "StopIteration" in failed.problem
    assert (ours.problem, ours.cosine, len(ours.all)) == ("", pytest.approx(1), 1)
    assert table([failed, ours], 1).splitlines()[-1] == f"Not timed: unheard-of: {failed.problem}"


def test_ratios_are_those_of_medians() -> None:
    slow = Figures("first", [4.0], [2.0, 9.0, 2.0], [0.01, 0.02, 0.03], 5_000_000)
    fast = Figures("second", [1.0], [1.0, 1.0, 9.0], [0.01], 1_000_000, 0.5)
    first, second = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table([slow, fast], 8).splitlines()[2:]
    )
    assert first == ["first", "4", "1.00", "20", "1.00", "4", "1.00", "5", "1.0000"]
    assert second == ["second", "8", "2.00", "10", "2.00", "1", "4.00", "1", "0.5000"]


def test_the_worst_text_counts() -> None:
    same: Any = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert module._worst_cosine(same, same) == 1
    assert module._worst_cosine(same, np.array([[1.0, 0.0], [2.0, 0.0]])) == 0
