"""The metrics of an evaluation as lines for a terminal."""

from textwrap import fill
from typing import TYPE_CHECKING

from bertie.errors import counted
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.evaluation.evaluator import Scored


def score_table(found: "Scored") -> list[str]:
    """Return metrics and classes in columns."""
    lines = [counted(found.scores.count, "row")]
    for name, value in found.metrics.items():
        interval = found.intervals.get(name)
        shown = "undefined" if value is None else f"{value:8.4f}"
        lines.append(f"  {name:<20} {shown}" + (f"  ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""))
    if found.meaning:
        lines += fill(printable(f"({found.meaning})"), 100, initial_indent="  ", subsequent_indent="   ").splitlines()
    if table := found.table:
        names = [name for name in table[0] if name != "label"]
        width = min(40, max(len(str(row["label"])) for row in table))
        lines.append(f"  {'label':<{width}} " + " ".join(f"{name:>10}" for name in names))
        for row in table:
            cells = " ".join(
                f"{row[name]:>10.4f}" if isinstance(row[name], float) else f"{row[name]:>10}" for name in names
            )
            lines.append(f"  {printable(str(row['label']))[:width]:<{width}} {cells}")
    return lines
