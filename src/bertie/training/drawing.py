"""Shared helpers for plots of a run, drawn with matplotlib as PNG files."""

import math
import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bertie.extras import missing, need
from bertie.files import atomic

BLUE, GREY, ORANGE = "#0b5fa5", "#8a8f98", "#d1690e"
NAME_LENGTH = 22
SHARES = (0, 1.02)  # markers at 1 are not clipped
DRAWING = "Drawing the run"
# fonts whose names contain one of these cover Chinese, Japanese or Korean, or nearly everything
WIDE_FONTS = "CJK|WenQuanYi|PingFang|Hiragino Sans|YaHei|SimHei|Yu Gothic|Malgun|Arial Unicode"


def why_no_plots() -> str:
    return missing("matplotlib.figure", "train", DRAWING)


def new_figure(width: float, height: float, rows: int, columns: int, **options: Any) -> tuple[Any, list[Any]]:
    """Return a figure of this size in inches, and its axes row by row."""
    figure = need("matplotlib.figure", "train", DRAWING).Figure(figsize=(width, height), dpi=130, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False, **options).flat)
    for panel in panels:
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def save_figure(figure: Any, path: Path) -> None:
    for text in figure.findobj(need("matplotlib.text", "train", DRAWING).Text):
        text.set_fontfamily(_fonts())
    with atomic(path) as file, warnings.catch_warnings():
        # a label in a script that no font covers is drawn as boxes; a warning would not help
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="png", bbox_inches="tight", pad_inches=0.1)


def begin_at_0(panel: Any, values: Sequence[float]) -> None:
    """Start the axis of losses and errors at 0, with room above; a model's own loss may be negative."""
    maximum = max(filter(math.isfinite, values), default=0.0)
    if maximum > 0 and all(value >= 0 for value in values):
        panel.set_ylim(0, 1.05 * maximum)


def set_range(panel: Any, values: Sequence[float]) -> None:
    """Make the axis of shares go from 0 to 1, so that small differences look small; give others a margin."""
    if values and all(0 <= value <= 1 for value in values):
        panel.set_ylim(*SHARES)
    else:
        panel.margins(y=0.2)


def label_text(label: str) -> str:
    """Return a label as one short line, escaped so that matplotlib does not read it as a formula."""
    line = " ".join(str(label).split())
    if len(line) > NAME_LENGTH:
        # long labels often differ only at the end
        line = f"{line[: NAME_LENGTH - 9]}…{line[-8:]}"
    return line.replace("$", r"\$")


@cache
def _fonts() -> list[str]:
    """Return the default font, and the installed fonts for scripts that it lacks."""
    installed = need("matplotlib.font_manager", "train", DRAWING).get_font_names()
    return ["DejaVu Sans", *sorted(name for name in installed if re.search(WIDE_FONTS, name))]
