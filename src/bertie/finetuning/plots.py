"""The plots of a fine-tuning: confusion, thresholds, calibration, seeds or folds, and the trials of a sweep."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, counted
from bertie.extras import need
from bertie.metrics.counts import ratio
from bertie.tasks.calibration import Reliability, f1_curves
from bertie.training.drawing import BLUE, DRAWING, GREY, ORANGE, SHARES, label_text, new_figure, save_figure, set_range

# more would be unreadable in one plot
MAX_CLASSES, MAX_PANELS, MAX_NUMBERED = 40, 12, 30
FEW_CLASSES = 10
Spread = Mapping[str, tuple[float, float]]  # metric → mean and standard deviation


def draw_confusion(matrix: NDArray, labels: Sequence[str], path: Path) -> None:
    """Draw the confusion matrix ``[C, C]`` of labels (rows) and predictions (columns), coloured by share of the row.

    Of more than 40 classes, those with the most rows are drawn.
    """
    if matrix.shape != (len(labels), len(labels)):
        raise InputError(f"the matrix has shape {list(matrix.shape)} for {len(labels)} labels; give one row per label.")
    shown = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[:MAX_CLASSES])
    counts = matrix[np.ix_(shown, shown)]
    shares = ratio(counts, matrix.sum(axis=1)[shown][:, None])
    size = (0.62 if len(shown) <= FEW_CLASSES else 0.36) * len(shown) + 2.2
    figure, (panel,) = new_figure(size + 1, size, 1, 1)
    # a square-root scale, to make errors visible, whose shares are small
    scale = need("matplotlib.colors", "train", DRAWING).PowerNorm(0.5, vmin=0, vmax=1)
    image = panel.imshow(shares, cmap="Blues", norm=scale)
    figure.colorbar(image, ax=panel, shrink=0.8, label="share of the label's rows")
    if len(shown) <= MAX_NUMBERED:
        _write_counts(panel, counts, shares)
    names = [label_text(labels[number]) for number in shown]
    panel.set_xticks(range(len(shown)), names, rotation=90 if len(shown) > 4 else 0)
    panel.set_yticks(range(len(shown)), names)
    panel.set_xlabel("predicted")
    panel.set_ylabel("label")
    if len(shown) < len(labels):
        panel.set_title(f"the {len(shown)} of {len(labels)} classes with the most rows", fontsize=9)
    save_figure(figure, path)


def draw_thresholds(
    probabilities: NDArray, truth: NDArray, thresholds: Sequence[float], labels: Sequence[str], path: Path
) -> None:
    """Draw each label's F1 by threshold, from ``[n, C]`` probabilities and labels, with the chosen one and 0.5."""
    grid = np.linspace(0.005, 0.995, 199)
    rows = np.asarray(truth).sum(axis=0)
    shown = np.argsort(-rows, kind="stable")[:MAX_PANELS]
    curves = f1_curves(np.asarray(probabilities)[:, shown], np.asarray(truth)[:, shown], grid)
    figure, panels = _grid(len(shown), 2.1, 0.7, sharex=True, sharey=True)
    for panel, label, curve in zip(panels, shown, curves, strict=True):
        panel.plot(grid, curve, color=BLUE)
        panel.axvline(0.5, color=GREY, linestyle=":", linewidth=1)
        panel.axvline(thresholds[label], color=ORANGE, linewidth=1.2)
        panel.set_title(
            f"{label_text(labels[label])} ({counted(int(rows[label]), 'row')}): {thresholds[label]:.2f}", fontsize=8
        )
    panels[0].set_xlim(0, 1)
    panels[0].set_ylim(*SHARES)
    more = f"; the {len(shown)} of {len(labels)} labels with the most rows" if len(shown) < len(labels) else ""
    figure.suptitle(f"F1 by threshold; orange: chosen, dotted: 0.5{more}", fontsize=9)
    figure.supxlabel("threshold", fontsize=9)
    figure.supylabel("F1", fontsize=9)
    save_figure(figure, path)


def draw_reliability(before: Reliability, after: Reliability, temperature: float, path: Path) -> None:
    """Draw reliability diagrams, accuracy by confidence, before and after temperature scaling."""
    figure, panels = new_figure(8, 4.6, 2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
    named = (("before (temperature 1)", before), (f"after (temperature {temperature:.2f})", after))
    for column, (name, bins) in enumerate(named):
        _draw_bins(panels[column], panels[column + 2], bins)
        panels[column].set_title(f"{name}: calibration error {bins.error:.3f}", fontsize=9)
    panels[0].set_ylabel("accuracy")
    panels[2].set_ylabel("share")
    save_figure(figure, path)


def draw_sweep(
    trials: Sequence[tuple[Mapping[str, Any], float | None]], best: int, logarithmic: Collection[str], path: Path
) -> None:
    """Draw the score of each trial (None if it has none) by each of its settings, with the best marked."""
    names = list(trials[best][0])[:MAX_PANELS]
    figure, panels = _grid(len(names), 2.3, 0.5, sharey=True)
    for panel, name in zip(panels, names, strict=True):
        points = [(values[name], score) for values, score in trials if score is not None and name in values]
        plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in points)
        shown = [(value if plain else str(value), score) for value, score in points]
        panel.plot(*zip(*shown, strict=True), color=BLUE, marker="o", markersize=4, linestyle="", alpha=0.7)
        value = trials[best][0][name]
        chosen = value if plain else str(value)
        panel.plot([chosen], [trials[best][1]], color=ORANGE, marker="o", markersize=7, linestyle="")
        panel.set_title(
            f"{label_text(name)}: {label_text(f'{value:.3g}' if isinstance(value, float) else value)}", fontsize=8
        )
        if plain and name in logarithmic:
            panel.set_xscale("log")
    set_range(panels[0], [score for _, score in trials if score is not None])
    figure.supylabel("score on dev", fontsize=9)
    save_figure(figure, path)


def draw_runs(metrics: Mapping[int, Mapping[str, float | None]], spread: Spread, what: str, path: Path) -> None:
    """Draw each metric by seed or fold, with mean and standard deviation."""
    names = list(spread)[:MAX_PANELS]
    figure, panels = _grid(len(names), 2.1, 0.5, sharex=True)
    for panel, name in zip(panels, names, strict=True):
        mean, deviation = spread[name]
        values = [each[name] for each in metrics.values()]
        panel.axhspan(mean - deviation, mean + deviation, color=GREY, alpha=0.15, linewidth=0)
        panel.axhline(mean, color=GREY, linewidth=1)
        panel.plot(range(len(values)), values, color=BLUE, marker="o", markersize=4, linestyle="")
        panel.set_xticks(range(len(values)), list(map(str, metrics)), rotation=90 if len(values) > 8 else 0)
        panel.set_xlim(-0.5, len(values) - 0.5)
        panel.set_title(f"{label_text(name)}: {mean:.3f} ± {deviation:.3f}", fontsize=8)
    figure.supxlabel(what, fontsize=9)
    save_figure(figure, path)


def _grid(count: int, height: float, margin: float, **options: Any) -> tuple[Any, list[Any]]:
    """Return a figure with ``count`` small panels, four in a row, each of a height in inches."""
    columns = min(4, count)
    rows = -(-count // columns)
    figure, panels = new_figure(max(2.7 * columns, 4.2), height * rows + margin, rows, columns, **options)
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]


def _write_counts(panel: Any, counts: NDArray, shares: NDArray) -> None:
    size = 9 if len(counts) <= FEW_CLASSES else 6
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.3 else "black"
        number = _short(int(counts[row, column]))
        panel.text(column, row, number, ha="center", va="center", fontsize=size, color=colour)


def _draw_bins(panel: Any, sizes: Any, bins: Reliability) -> None:
    width = 1 / len(bins.count)
    middles = (np.arange(len(bins.count)) + 0.5) * width
    filled = bins.count > 0
    panel.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    panel.bar(middles[filled], bins.accuracy[filled], width=0.9 * width, color=BLUE, alpha=0.35)
    panel.plot(bins.mean_confidence[filled], bins.accuracy[filled], color=BLUE, marker="o", markersize=4)
    panel.set_xlim(0, 1)
    panel.set_ylim(*SHARES)
    sizes.bar(middles, ratio(bins.count, bins.count.sum()), width=0.9 * width, color=GREY)
    sizes.set_xlabel("confidence")


def _short(number: int) -> str:
    if number < 10_000:
        return str(number)
    return f"{number / 1000:.0f}k" if number < 999_500 else f"{number / 1e6:.1f}M"
