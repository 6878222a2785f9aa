"""Every picture of a run is drawn, whatever its labels are and however few its figures."""

from pathlib import Path

import numpy as np
import pytest

from bertie.errors import InputError
from bertie.finetuning import plots
from bertie.tasks.calibration import reliability

pytest.importorskip("matplotlib")
RANDOM = np.random.default_rng(0)
ODD = ["$x^{", "two\nlines", "日本語", "a label that is far too long to be read", ""]


def size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG file."""
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


@pytest.mark.parametrize(
    ("records", "best"),
    [
        ([], None),
        ([{"step": 1, "loss": 0.7}], None),
        ([{"step": 1, "loss": 0.7}, {"step": 1, "figures": {"f1": 0.5, "loss": 0.6}}], 1),
        ([{"step": 1, "figures": {"f1": None}}], 1),
        ([{"step": step, "loss": 1 / step} for step in range(1, 2000)], None),
    ],
)
def test_curves(records: list, best: int | None, tmp_path: Path) -> None:
    plots.draw_curves(records, "f1", best, tmp_path / "curves.png")
    assert min(size(tmp_path / "curves.png")) > 500


@pytest.mark.parametrize(
    ("main", "values", "limits"),
    [("f1", (0.81, 0.83), (0, 1.02)), ("spearman", (-0.1, 0.2), None), ("loss", (0.3, 0.2), (0, 0.305))],
)
def test_shares_are_drawn_from_0_to_1(
    main: str, values: tuple[float, float], limits: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list = []
    monkeypatch.setattr(plots, "_save", lambda figure, _: drawn.append(figure.axes[-1].get_ylim()))
    records = [{"step": step, "figures": {main: value}} for step, value in enumerate(values, 1)]
    plots.draw_curves(records, main, 1, Path("curves.png"))
    low, high = drawn[0]
    assert (
        (low, high) == pytest.approx(limits)
        if limits
        else (min(values) - 0.2 < low < min(values) and high < max(values) + 0.2)
    )


@pytest.mark.parametrize(("losses", "low"), [((0.7, 0.6), 0), ((0.7, -0.6), -0.665)])
def test_the_axis_of_losses_begins_at_0(
    losses: tuple[float, float], low: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list = []
    monkeypatch.setattr(plots, "_save", lambda figure, _: drawn.append(figure.axes[0].get_ylim()))
    records = [{"step": 1, "loss": losses[0]}, {"step": 2, "figures": {"f1": 0.5, "loss": losses[1]}}]
    plots.draw_curves(records, "f1", 1, Path("curves.png"))
    assert drawn[0][0] == pytest.approx(low)


@pytest.mark.parametrize("classes", [1, 2, 5, 28, 60])
def test_confusion(classes: int, tmp_path: Path) -> None:
    labels = [*ODD, *map(str, range(60))][:classes]
    matrix = RANDOM.integers(0, 2_000_000, (classes, classes))
    matrix[0] = 0
    plots.draw_confusion(matrix, labels, tmp_path / "confusion.png")
    assert 300 < max(size(tmp_path / "confusion.png")) < 3000


@pytest.mark.parametrize("classes", [1, 2, 5, 28])
def test_thresholds(classes: int, tmp_path: Path) -> None:
    chances = RANDOM.random((50, classes))
    labels = [*ODD, *map(str, range(60))][:classes]
    plots.draw_thresholds(chances, chances > 0.4, [0.4] * classes, labels, tmp_path / "thresholds.png")
    assert 300 < max(size(tmp_path / "thresholds.png")) < 1600


def test_reliability(tmp_path: Path) -> None:
    confidence = RANDOM.random(100)
    bins = reliability(confidence, confidence > RANDOM.random(100))
    empty = reliability(np.zeros(0), np.zeros(0))
    plots.draw_reliability(empty, bins, 1.5, tmp_path / "reliability.png")
    assert min(size(tmp_path / "reliability.png")) > 400


def test_a_matrix_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \[2, 2\] for 3 labels"):
        plots.draw_confusion(np.zeros((2, 2)), ["a", "b", "c"], tmp_path / "confusion.png")


def test_without_matplotlib_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert "matplotlib" in plots.why_no_plots()
