"""Figures as Markdown: a table for each experiment, and below it what two lines of it differ by, row by row."""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

LEGEND = (
    "Figures: mean ± standard deviation over the seeds. seconds: of training, the mean. ×: how many times as fast as "
    "transformers' (for embeddings sentence-transformers') Trainer, the mean over the seeds that both ran. padding: "
    "the share of computed tokens that are padding. Differences: mean over the seeds, and from the lowest to the "
    "highest end of their 95 % intervals (paired bootstrap over dev)."
)
Found = Mapping[str, Any]


def report(found: Sequence[Found], level: int = 2) -> str:
    """Return all tables as one text."""
    return "\n\n".join([*(section(one, level) for one in found), LEGEND]) + "\n"


def section(one: Found, level: int = 2) -> str:
    """Return an experiment's heading, what was run, its table, and the differences."""
    parts = [f"{'#' * level} {one['name']}: {one['title']}", setting(one), "\n".join(table(one))]
    if one["differences"]:
        parts.append("\n".join(verdict(each, one["figures"]) for each in one["differences"]))
    return "\n\n".join(parts)


def setting(one: Found) -> str:
    """Return in sentences what was run, and where."""
    rows, seeds = one["rows"], len(one["lines"][0]["seeds"])
    tune = f", {rows['tune']:,} to choose by" if rows["tune"] else ""
    others = fmean(effort["others"] for efforts in one["systems"].values() for effort in efforts)
    said = (
        f"{one['start']}; {rows['train']:,} rows to learn from{tune}, {rows['dev']:,} to score on; "
        f"{_count(one['epochs'], 'epoch')}, batches of {one['batch_size']}, learning rate {one['learning_rate']:g}, "
        f"at most {one['max_length']} tokens; {_count(seeds, 'seed')}; {_count(one['threads'], 'thread')}; "
        f"{one['machine']}. Other programs took {others:.0%} of the processors' time meanwhile."
    )
    quick = " A quick run: few rows, figures are rough." if one["quick"] else ""
    return f"{said}{quick}{' ' + one['note'] if one['note'] else ''}"


def table(one: Found) -> list[str]:
    """Return the lines of the Markdown table."""
    rows = [["system", *one["figures"], "seconds", "×", "padding"]]
    for line in one["lines"]:
        name, efforts = line["line"], one["systems"][line["system"]]
        figures = [_spread([seed[figure] for seed in line["seeds"]]) for figure in one["figures"]]
        shown = f"**{name}**" if line["system"].startswith("bertie") else name
        padding = _padding([effort["padding"] for effort in efforts])
        seconds = fmean(effort["seconds"] for effort in efforts)
        rows.append([shown, *figures, f"{seconds:,.1f}", f"{ratio(one, line['system']):.2f}", padding])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(_cell(row, widths)) + " |" for row in rows]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return [lines[0], rule, *lines[1:]]


def ratio(one: Found, system: str) -> float:
    """Return how many times as fast as the base a system is."""
    both = zip(one["systems"][one["base"]], one["systems"][system], strict=False)
    return fmean(base["seconds"] / own["seconds"] for base, own in both)


def verdict(each: Found, figures: Sequence[str]) -> str:
    """Return what two lines differ by in each figure, and whether all seeds agree on a winner."""
    said = []
    for figure in figures:
        means = [seed["difference"][figure] for seed in each["seeds"]]
        ends = [seed["interval"][figure] for seed in each["seeds"]]
        if None in means or None in ends:
            said.append(f"{figure} undefined")
            continue
        low, high = min(end[0] for end in ends), max(end[1] for end in ends)
        won = "better" if low > 0 else "worse" if high < 0 else "no winner"
        said.append(f"{figure} {fmean(means):+.3f} [{low:+.3f}, {high:+.3f}], {won}")
    return f"- {each['first']} less {each['second']}: {'; '.join(said)}."


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "undefined"
    return f"{fmean(known):.3f}" + (f" ± {stdev(known):.3f}" if len(known) > 1 else "")


def _padding(shares: Sequence[float | None]) -> str:
    """Return the mean share; nothing where it was not counted."""
    known = [share for share in shares if share is not None]
    return f"{fmean(known):.0%}" if known else ""


def _cell(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.ljust(width) if not column else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
