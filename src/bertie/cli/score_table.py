"""The figures of an evaluation as lines for a terminal."""

from typing import TYPE_CHECKING

from bertie.errors import counted
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.evaluation.evaluator import Scored


def score_table(found: "Scored") -> list[str]:
    """Return figures and classes in columns."""
    lines = [counted(found.scores.count, "row")]
    for name, value in found.figures.items():
        interval = found.intervals.get(name)
        shown = "undefined" if value is None else f"{value:8.4f}"
        lines.append(f"  {name:<20} {shown}" + (f"  ({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""))
    if found.positive is not None:
        lines.append(printable(f"  (precision, recall and f1 are those of the class {found.positive})"))
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
