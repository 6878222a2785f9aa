"""Training curves: the loss, and a metric of the evaluations, by step."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertie.metrics.streaming import LOWER_IS_BETTER
from bertie.training.drawing import BLUE, GREY, ORANGE, begin_at_0, label_text, new_figure, save_figure, set_range


def draw_curves(
    records: Sequence[Mapping[str, Any]],
    main: str,
    best_step: int | None,
    path: Path,
    measured: str,
    loss: str = "loss",
) -> None:
    """Draw the training loss and the metric ``main`` on the data ``measured`` by step, with the best step marked.

    ``loss`` names the training loss to draw beside the loss on that data: the whole, or the same term.
    """
    steps = [(record["step"], record[loss]) for record in records if record.get(loss) is not None]
    evaluations = [(record["step"], record["metrics"]) for record in records if record.get("metrics")]
    figure, (losses, scores) = new_figure(8, 6.4, 2, 1, sharex=True)
    _draw_losses(losses, steps, [(step, metrics.get("loss")) for step, metrics in evaluations], measured)
    losses.set_ylabel(label_text(loss))
    found = [(step, metrics[main]) for step, metrics in evaluations if metrics.get(main) is not None]
    if found:
        scores.plot(*zip(*found, strict=True), color=BLUE, marker="o", markersize=4)
    _mark_best((losses, scores), dict(found), best_step)
    scores.set_ylabel(label_text(main))
    scores.set_xlabel("step")
    if main in LOWER_IS_BETTER:
        begin_at_0(scores, [value for _, value in found])
    else:
        set_range(scores, [value for _, value in found])
    scores.set_xlim(left=0)
    # no ticks between steps
    scores.xaxis.get_major_locator().set_params(integer=True)
    save_figure(figure, path)


def _draw_losses(
    panel: Any, steps: Sequence[tuple[int, float]], found: Sequence[tuple[int, float | None]], measured: str
) -> None:
    if steps:
        positions, values = (np.array(column, np.float64) for column in zip(*steps, strict=True))
        window = max(1, len(values) // 40)
        if window > 1:
            panel.plot(positions, values, color=GREY, linewidth=0.6, alpha=0.5)
        smooth, middle = (np.convolve(each, np.full(window, 1 / window), mode="valid") for each in (values, positions))
        mean = f", mean of {window} log lines" if window > 1 else ""
        panel.plot(middle, smooth, color=GREY, marker="." if len(values) < 30 else "", label=f"training{mean}")
    known = [(step, loss) for step, loss in found if loss is not None]
    if known:
        panel.plot(*zip(*known, strict=True), color=BLUE, marker="o", markersize=4, label=measured)
    begin_at_0(panel, [loss for _, loss in (*steps, *known)])
    if steps or known:
        panel.legend(fontsize=8, frameon=False)


def _mark_best(panels: Sequence[Any], found: Mapping[int, float], best_step: int | None) -> None:
    if best_step is None:
        return
    for panel in panels:
        panel.axvline(best_step, color=ORANGE, linestyle="--", linewidth=1)
    if best_step in found:
        value = found[best_step]
        panels[-1].plot([best_step], [value], color=ORANGE, marker="o", markersize=7, linestyle="")
        panels[-1].set_title(f"kept: step {best_step}, {value:.4f}", fontsize=9, color=ORANGE, loc="right")
