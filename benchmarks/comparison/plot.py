"""The picture of a comparison: speed and memory of every engine side by side, bertie's bars in colour."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertie.extras import missing, need
from bertie.files import atomic
from comparison.report import unit, value
from comparison.results import Comparison, Figures

OURS = {"fp32": "#0b5fa5", "bf16": "#2f8fd0", "int8": "#6cbcea"}
THEIRS = {"fp32": "#8a8f98", "bf16": "#aab0b8", "int8": "#c9cdd3"}
BAR = 0.27
WIDTH = 11.0


def why_no_plot() -> str:
    """Return why nothing can be drawn; empty if it can."""
    return missing("matplotlib.figure", "train", "The picture")


def plot(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a PNG with a row of two panels for each comparison: speed, and peak memory.

    Raises:
        BertieError: matplotlib is missing.
    """
    pictures = need("matplotlib.figure", "train", "The picture")
    drawn = [one for one in comparisons if one.timed]
    heights = [1.1 + BAR * len(one.timed) for one in drawn]
    figure = pictures.Figure(figsize=(WIDTH, sum(heights) + 0.6), dpi=130, layout="constrained")
    panels = figure.subplots(len(drawn), 2, height_ratios=heights, width_ratios=(3, 2), squeeze=False)
    for (speed, memory), one in zip(panels, drawn, strict=True):
        _speed(speed, one)
        _memory(memory, one)
    first = drawn[0]
    figure.suptitle(
        f"{first.machine}, equal threads; blue: bertie, grey: peers; darkest fp32, lightest int8", fontsize=9
    )
    with atomic(path) as file:
        figure.savefig(file, format="png")


def _speed(panel: Any, comparison: Comparison) -> None:
    values = [value(comparison, one) for one in comparison.timed]
    _bars(panel, comparison.timed, values)
    better = "more is better" if comparison.measure == "throughput" else "less is better"
    panel.set_title(f"{comparison.name}: {comparison.title}", loc="left", fontsize=10, fontweight="bold")
    panel.set_xlabel(f"{unit(comparison)} ({better})", fontsize=8)


def _memory(panel: Any, comparison: Comparison) -> None:
    _bars(panel, comparison.timed, [(one.device_peak or one.peak) / 1e6 for one in comparison.timed])
    panel.set_yticklabels([])
    panel.set_title("peak memory of the process", loc="left", fontsize=9)
    panel.set_xlabel("MB (less is better)", fontsize=8)


def _bars(panel: Any, figures: Sequence[Figures], values: Sequence[float]) -> None:
    """Draw a horizontal bar for each engine, the fastest at the top, with its figure at the end."""
    colours = [(OURS if one.is_bertie else THEIRS)[one.precision] for one in figures]
    bars = panel.barh([one.engine for one in figures], values, color=colours, height=0.72)
    panel.bar_label(bars, labels=[_short(number) for number in values], padding=3, fontsize=7.5)
    panel.invert_yaxis()
    panel.margins(x=0.14)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)
    for label, one in zip(panel.get_yticklabels(), figures, strict=True):
        label.set_fontweight("bold" if one.is_bertie else "normal")


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
