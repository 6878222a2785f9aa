"""Markdown reports: sections, tables, metrics, escaped text from users, and rendering as HTML."""

import base64
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bertie.messages import shortened

# inline markup of Markdown or HTML; "_" inside a word is not markup
_MARKUP = str.maketrans({**{sign: f"\\{sign}" for sign in "\\`*[]|~$"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"})
_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def plain(text: object, limit: int = 10_000) -> str:
    """Return a text as one line, markup escaped, without control characters, cut at ``limit`` characters."""
    # control characters drive terminals, and direction marks reorder the displayed text
    line = " ".join("".join(" " if unicodedata.category(sign)[0] == "C" else sign for sign in str(text)).split())
    return _EDGE.sub(r"\\_", shortened(line, limit).translate(_MARKUP))


def number(value: float | None) -> str:
    """Return a number with three decimals, or four digits if it is large or tiny."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.4g}"


def section(title: str, lines: Sequence[str]) -> str:
    """Return a section, or an empty string if it has no lines."""
    return "\n".join([f"## {title}", "", *lines, ""]) if any(lines) else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; none if it has no rows."""
    if not rows:
        return []
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def warnings_section(warnings: Iterable[str]) -> str:
    """Return the section of warnings, without duplicates."""
    return section("Look at this first", [f"- {plain(warning)}" for warning in dict.fromkeys(warnings)])


def settings_table(settings: Mapping[str, object]) -> list[str]:
    """Return the lines of a table of settings and their values."""
    words = {None: "none", True: "yes", False: "no"}
    rows = [
        [plain(name), words[value] if value is None or isinstance(value, bool) else plain(value)]
        for name, value in settings.items()
    ]
    return table(["setting", "value"], rows)


def metrics_line(metrics: Mapping[str, float | None]) -> str:
    """Return metrics in one line, for a terminal."""
    return ", ".join(f"{name} {number(value)}" for name, value in metrics.items()) or "not scored"


def metrics_table(
    metrics: Mapping[str, float | None], intervals: Mapping[str, tuple[float, float] | None]
) -> list[str]:
    """Return the lines of a table of metrics with their intervals."""
    rows = []
    for name, value in metrics.items():
        interval = intervals.get(name)
        rows.append([plain(name), number(value), f"{number(interval[0])} to {number(interval[1])}" if interval else ""])
    return table(["metric", "value", "95% interval"], rows)


def picture(path: Path, what: str) -> str:
    """Return a PNG file embedded in Markdown as a data URI."""
    return f"![{what}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')})"


def as_html(text: str) -> str:
    """Return Markdown as HTML; HTML tags in it are escaped."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
