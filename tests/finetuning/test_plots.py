"""Every plot of a run is drawn, whatever its labels are and however few its points."""

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


def test_runs(tmp_path: Path) -> None:
    metrics: dict[int, dict[str, float | None]] = {
        seed: {"accuracy": 0.9 + seed / 1e3, "f$1": seed} for seed in range(12)
    }
    plots.draw_runs(metrics, {"accuracy": (0.9, 0.004), "f$1": (5.5, 3.6)}, "seed", tmp_path / "seeds.png")
    assert 300 < max(size(tmp_path / "seeds.png")) < 1600


def test_a_matrix_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shape \[2, 2\] for 3 labels"):
        plots.draw_confusion(np.zeros((2, 2)), ["a", "b", "c"], tmp_path / "confusion.png")


@pytest.mark.parametrize(
    ("number", "drawn"),
    [(9_999, "9999"), (10_000, "10k"), (12_600, "13k"), (900_000, "900k"), (999_499, "999k"), (999_500, "1.0M"),
     (2_340_000, "2.3M")],
)  # fmt: skip
def test_counts_are_short(number: int, drawn: str) -> None:
    assert plots._short(number) == drawn
