"""The curves of a run are drawn, however few points they have."""

from pathlib import Path

import pytest

from bertie.training import curves, drawing

pytest.importorskip("matplotlib")


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
        ([{"step": 1, "loss": 0.7}, {"step": 1, "metrics": {"f1": 0.5, "loss": 0.6}}], 1),
        ([{"step": 1, "metrics": {"f1": None}}], 1),
        ([{"step": step, "loss": 1 / step} for step in range(1, 2000)], None),
    ],
)
def test_curves(records: list, best: int | None, tmp_path: Path) -> None:
    curves.draw_curves(records, "f1", best, tmp_path / "curves.png", "tuning data")
    assert min(size(tmp_path / "curves.png")) > 500


@pytest.mark.parametrize(
    ("main", "values", "limits"),
    [("f1", (0.81, 0.83), (0, 1.02)), ("spearman", (-0.1, 0.2), None), ("loss", (0.3, 0.2), (0, 0.315))],
)
def test_shares_are_drawn_from_0_to_1(
    main: str, values: tuple[float, float], limits: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, _: drawn.append(figure.axes[-1].get_ylim()))
    records = [{"step": step, "metrics": {main: value}} for step, value in enumerate(values, 1)]
    curves.draw_curves(records, main, 1, Path("curves.png"), "tuning data")
    low, high = drawn[0]
    assert (
        (low, high) == pytest.approx(limits)
        if limits
        else (min(values) - 0.2 < low < min(values) and high < max(values) + 0.2)
    )


@pytest.mark.parametrize(
    ("losses", "limits"),
    [((0.7, 0.6), (0, 0.735)), ((0.7, -0.6), (-0.665, 0.765)), ((0.7, float("inf")), (0, 0.735))],
)
def test_the_axis_of_losses_begins_at_0_and_has_room_above(
    losses: tuple[float, float], limits: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, _: drawn.append(figure.axes[0].get_ylim()))
    records = [{"step": 1, "loss": losses[0]}, {"step": 2, "metrics": {"f1": 0.5, "loss": losses[1]}}]
    curves.draw_curves(records, "f1", 1, Path("curves.png"), "tuning data")
    assert drawn[0] == pytest.approx(limits)


def test_a_term_of_the_loss_is_drawn_beside_the_same_of_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list = []
    monkeypatch.setattr(curves, "save_figure", lambda figure, _: drawn.append(figure.axes[0]))
    records = [{"step": 1, "loss": 9.0, "masked_lm_loss": 6.5}, {"step": 1, "metrics": {"accuracy": 0.1, "loss": 6.4}}]
    curves.draw_curves(records, "accuracy", None, Path("curves.png"), "documents held out", "masked_lm_loss")
    assert [list(line.get_ydata()) for line in drawn[0].lines] == [[6.5], [6.4]]
    assert drawn[0].get_ylabel() == "masked_lm_loss"


def test_without_matplotlib_a_message_is_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert "matplotlib" in drawing.why_no_plots()
