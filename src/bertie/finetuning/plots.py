"""The pictures of a run: loss and quality by step, confusion, thresholds, and confidence against accuracy."""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, counted
from bertie.extras import missing, need
from bertie.files import atomic
from bertie.metrics.bootstrap import ratio
from bertie.tasks.calibration import Reliability, f1_curves
from bertie.training.evaluating import LOWER

BLUE, GREY, ORANGE = "#0b5fa5", "#8a8f98", "#d1690e"
# more cannot be read in one picture
MOST_CLASSES, MOST_PANELS, MOST_NUMBERS = 40, 12, 30
FEW_CLASSES = 10
NAME_LENGTH = 22
DRAWING = "Drawing the run"
# fonts whose names hold one of these have Chinese, Japanese and Korean, or nearly everything
WIDE_FONTS = "CJK|WenQuanYi|PingFang|Hiragino Sans|YaHei|SimHei|Yu Gothic|Malgun|Arial Unicode"


def why_no_plots() -> str:
    """Return why nothing can be drawn; empty if it can."""
    return missing("matplotlib.figure", "train", DRAWING)


def draw_curves(records: Sequence[Mapping[str, Any]], main: str, best_step: int | None, path: Path) -> None:
    """Draw the loss of training and the figure ``main`` on the tuning data by step, the best step marked."""
    steps = [(record["step"], record["loss"]) for record in records if record.get("loss") is not None]
    evaluations = [(record["step"], record["figures"]) for record in records if record.get("figures")]
    figure, (losses, scores) = _figure(8, 6.4, 2, 1, sharex=True)
    _draw_losses(losses, steps, [(step, figures.get("loss")) for step, figures in evaluations])
    found = [(step, figures[main]) for step, figures in evaluations if figures.get(main) is not None]
    if found:
        scores.plot(*zip(*found, strict=True), color=BLUE, marker="o", markersize=4)
    _mark_best((losses, scores), dict(found), best_step)
    scores.set_ylabel(_text(main))
    scores.set_xlabel("step")
    if main in LOWER:
        _begin_at_0(scores, [value for _, value in found])
    else:
        _set_range(scores, [value for _, value in found])
    scores.set_xlim(left=0)
    # a run of two steps has no step 0.5
    scores.xaxis.get_major_locator().set_params(integer=True)
    _save(figure, path)


def draw_confusion(matrix: NDArray, labels: Sequence[str], path: Path) -> None:
    """Draw how often each class (row) was predicted as each class (column); the colour is the share of its row.

    Of more than 40 classes in ``matrix`` ``[C, C]``, those with the most rows are drawn.
    """
    if matrix.shape != (len(labels), len(labels)):
        raise InputError(f"the matrix has shape {list(matrix.shape)} for {len(labels)} labels; give one row a label.")
    shown = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[:MOST_CLASSES])
    counts = matrix[np.ix_(shown, shown)]
    shares = ratio(counts, matrix.sum(axis=1)[shown][:, None])
    size = (0.62 if len(shown) <= FEW_CLASSES else 0.36) * len(shown) + 2.2
    figure, (panel,) = _figure(size + 1, size, 1, 1)
    # the square root: errors are small shares, and they are what is looked for
    scale = need("matplotlib.colors", "train", DRAWING).PowerNorm(0.5, vmin=0, vmax=1)
    image = panel.imshow(shares, cmap="Blues", norm=scale)
    figure.colorbar(image, ax=panel, shrink=0.8, label="share of the label's rows")
    if len(shown) <= MOST_NUMBERS:
        _write_counts(panel, counts, shares)
    names = [_text(labels[number]) for number in shown]
    panel.set_xticks(range(len(shown)), names, rotation=90 if len(shown) > 4 else 0)
    panel.set_yticks(range(len(shown)), names)
    panel.set_xlabel("predicted")
    panel.set_ylabel("label")
    if len(shown) < len(labels):
        panel.set_title(f"the {len(shown)} of {len(labels)} classes with the most rows", fontsize=9)
    _save(figure, path)


def draw_thresholds(
    probabilities: NDArray, truth: NDArray, thresholds: Sequence[float], labels: Sequence[str], path: Path
) -> None:
    """Draw each label's F1 by threshold, from ``[n, C]`` probabilities and labels, with the chosen one and 0.5."""
    places = np.linspace(0.005, 0.995, 199)
    rows = np.asarray(truth).sum(axis=0)
    shown = np.argsort(-rows, kind="stable")[:MOST_PANELS]
    curves = f1_curves(np.asarray(probabilities)[:, shown], np.asarray(truth)[:, shown], places)
    figure, panels = _grid(len(shown), 2.1, 0.7, sharex=True, sharey=True)
    for panel, label, curve in zip(panels, shown, curves, strict=True):
        panel.plot(places, curve, color=BLUE)
        panel.axvline(0.5, color=GREY, linestyle=":", linewidth=1)
        panel.axvline(thresholds[label], color=ORANGE, linewidth=1.2)
        panel.set_title(
            f"{_text(labels[label])} ({counted(int(rows[label]), 'row')}): {thresholds[label]:.2f}", fontsize=8
        )
    panels[0].set_xlim(0, 1)
    panels[0].set_ylim(0, 1)
    more = f"; the {len(shown)} of {len(labels)} labels with the most rows" if len(shown) < len(labels) else ""
    figure.suptitle(f"F1 by threshold; orange: chosen, dotted: 0.5{more}", fontsize=9)
    figure.supxlabel("threshold", fontsize=9)
    figure.supylabel("F1", fontsize=9)
    _save(figure, path)


def draw_reliability(before: Reliability, after: Reliability, temperature: float, path: Path) -> None:
    """Draw accuracy by confidence before and after the temperature; on the diagonal, confidence means what it says."""
    figure, panels = _figure(8, 4.6, 2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
    named = (("before (temperature 1)", before), (f"after (temperature {temperature:.2f})", after))
    for column, (name, bins) in enumerate(named):
        _draw_bins(panels[column], panels[column + 2], bins)
        panels[column].set_title(f"{name}: calibration error {bins.error:.3f}", fontsize=9)
    panels[0].set_ylabel("accuracy")
    panels[2].set_ylabel("share")
    _save(figure, path)


def draw_sweep(
    trials: Sequence[tuple[Mapping[str, Any], float | None]], best: int, logarithmic: Collection[str], path: Path
) -> None:
    """Draw the score of each trial, None if it has none, by each of its settings, the best one marked."""
    names = list(trials[best][0])[:MOST_PANELS]
    figure, panels = _grid(len(names), 2.3, 0.5, sharey=True)
    for panel, name in zip(panels, names, strict=True):
        points = [(values[name], score) for values, score in trials if score is not None and name in values]
        plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in points)
        shown = [(value if plain else str(value), score) for value, score in points]
        panel.plot(*zip(*shown, strict=True), color=BLUE, marker="o", markersize=4, linestyle="", alpha=0.7)
        value = trials[best][0][name]
        chosen = value if plain else str(value)
        panel.plot([chosen], [trials[best][1]], color=ORANGE, marker="o", markersize=7, linestyle="")
        panel.set_title(f"{_text(name)}: {_text(f'{value:.3g}' if isinstance(value, float) else value)}", fontsize=8)
        if plain and name in logarithmic:
            panel.set_xscale("log")
    _set_range(panels[0], [score for _, score in trials if score is not None])
    figure.supylabel("score on the rows kept for tuning", fontsize=9)
    _save(figure, path)


def _grid(count: int, height: float, margin: float, **options: Any) -> tuple[Any, list[Any]]:
    """Return a figure and so many small panels of a height in inches, four beside each other."""
    wide = min(4, count)
    high = -(-count // wide)
    figure, panels = _figure(max(2.7 * wide, 4.2), height * high + margin, high, wide, **options)
    for panel in panels[count:]:
        panel.set_visible(False)
    return figure, panels[:count]


def _begin_at_0(panel: Any, values: Sequence[float]) -> None:
    """Let the axis of losses and errors begin at 0; a model's own loss may fall below."""
    if all(value >= 0 for value in values):
        panel.set_ylim(bottom=0)


def _set_range(panel: Any, values: Sequence[float]) -> None:
    """Let the axis of shares go from 0 to 1, so that small differences look small; leave others some room."""
    if values and all(0 <= value <= 1 for value in values):
        panel.set_ylim(0, 1.02)
    else:
        panel.margins(y=0.2)


def _figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Any, list[Any]]:
    """Return a figure of this size in inches and its panels, row by row."""
    figure = need("matplotlib.figure", "train", DRAWING).Figure(figsize=(width, height), dpi=130, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for panel in panels:
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Any, path: Path) -> None:
    for text in figure.findobj(need("matplotlib.text", "train", DRAWING).Text):
        text.set_fontfamily(_fonts())
    with atomic(path) as file, warnings.catch_warnings():
        # a label in a script that the font lacks shows as boxes, which is no news to the user's terminal
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0.1)


@cache
def _fonts() -> list[str]:
    """Return the usual font, and those installed that have the scripts it lacks."""
    installed = need("matplotlib.font_manager", "train", DRAWING).get_font_names()
    return ["DejaVu Sans", *sorted(name for name in installed if re.search(WIDE_FONTS, name))]


def _draw_losses(panel: Any, steps: Sequence[tuple[int, float]], tuning: Sequence[tuple[int, float | None]]) -> None:
    if steps:
        places, values = (np.array(column, np.float64) for column in zip(*steps, strict=True))
        window = max(1, len(values) // 40)
        if window > 1:
            panel.plot(places, values, color=GREY, linewidth=0.6, alpha=0.5)
        smooth, middle = (np.convolve(each, np.full(window, 1 / window), mode="valid") for each in (values, places))
        mean = f", mean of {window} log lines" if window > 1 else ""
        panel.plot(middle, smooth, color=GREY, marker="." if len(values) < 30 else "", label=f"training{mean}")
    known = [(step, loss) for step, loss in tuning if loss is not None]
    if known:
        panel.plot(*zip(*known, strict=True), color=BLUE, marker="o", markersize=4, label="tuning data")
    panel.set_ylabel("loss")
    _begin_at_0(panel, [loss for _, loss in (*steps, *known)])
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
    panel.set_ylim(0, 1)
    sizes.bar(middles, ratio(bins.count, bins.count.sum()), width=0.9 * width, color=GREY)
    sizes.set_xlabel("confidence")


def _text(label: str) -> str:
    """Return a label as one short line that matplotlib does not take for a formula."""
    line = " ".join(str(label).split())
    if len(line) > NAME_LENGTH:
        # long labels often differ only at their end
        line = f"{line[: NAME_LENGTH - 9]}…{line[-8:]}"
    return line.replace("$", r"\$")


def _short(number: int) -> str:
    if number < 10_000:
        return str(number)
    return f"{number / 1000:.0f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"
