"""Results as Markdown: a table for each workload, readable on a terminal too, and what bertie is beside the best."""

from collections.abc import Sequence

from bertie.errors import counted
from comparison.results import Comparison, Figures

PRECISIONS = ("fp32", "bf16", "int8")
_SPEED = {
    "throughput": ("texts/s", "tokens/s"),
    "latency": ("p50 ms", "p99 ms"),
    "start": ("seconds", ""),
}
LEGEND = (
    "×: how many times as fast as the baseline, by the median. spread: slowest round less fastest, of the median. "
    "peak: the most memory of the engine's process; above torch: the same less what `import torch` alone takes "
    "(engines that run without PyTorch have none). cosine: to the reference's answers, mean and worst text; "
    "differs: the largest difference of an fp32 engine."
)


def report(comparisons: Sequence[Comparison], baseline: str | None = None) -> str:
    """Return all tables as one text."""
    return "\n\n".join(section(one, baseline) for one in comparisons) + "\n"


def section(comparison: Comparison, baseline: str | None = None) -> str:
    """Return a workload's heading, what was run, its table, what follows, and who was not run."""
    parts = [f"## {comparison.name}: {comparison.title}", setting(comparison)]
    if comparison.timed:
        parts += ["\n".join(table(comparison, baseline)), "\n".join(verdicts(comparison, baseline))]
    if skipped := _skipped(comparison):
        parts.append("Not run:\n\n" + "\n".join(skipped))
    return "\n\n".join(part for part in parts if part)


def setting(one: Comparison) -> str:
    """Return in a sentence what was run, and where."""
    where = one.machine if one.device == "cpu" else f"{one.device} beside {one.machine}"
    threads = counted(one.threads, "thread")
    batches = "" if one.measure != "throughput" or one.task == "tokenize" else f"peers' batches of {one.batch_size}; "
    work = f"{counted(one.texts, 'text')}, {one.tokens:,} tokens; {batches}{one.rounds} rounds in turn; "
    work += f"{threads}; {where}."
    quiet = f"Other programs took {one.others:.0%} of the processors' time meanwhile."
    return f"{work} Answers are compared with those of {one.reference}. {quiet}"


def table(comparison: Comparison, baseline: str | None = None) -> list[str]:
    """Return the lines of the Markdown table, fastest engine first."""
    base = comparison.baseline(baseline)
    speed = [name for name in _speed_names(comparison) if name]
    rows = [["engine", *speed, "×", "spread", "peak MB", "above torch", "cosine", "differs"]]
    for one in comparison.timed:
        ratio = f"{base.median / one.median:.2f}" if base else ""
        rows.append(
            [_marked(one), *_speed(comparison, one), ratio, _spread(comparison, one), *_memory(comparison, one)]
        )
        rows[-1] += _equality(comparison, one)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return [lines[0], rule, *lines[1:]]


def verdicts(comparison: Comparison, baseline: str | None = None) -> list[str]:
    """Return a line for each precision of bertie: its ratio to the best peer of that precision, and to the baseline."""
    lines = []
    base = comparison.baseline(baseline)
    for ours in (one for one in comparison.timed if one.is_bertie):
        peer = comparison.best_peer(ours.precision)
        kind = "" if comparison.task == "tokenize" else f"{ours.precision} "
        beside = [(peer, f"the best {kind}peer, {peer.engine}" if peer else "")]
        beside += [(base, base.engine)] if base and base is not peer and not base.is_bertie else []
        said = [f"{other.median / ours.median:.2f} × {words}" for other, words in beside if other]
        if said:
            lines.append(f"- {ours.engine}: {'; '.join(said)}.")
    return lines


def value(comparison: Comparison, one: Figures) -> float:
    """Return the engine's first figure: texts a second, milliseconds at the median, or seconds."""
    if comparison.measure == "throughput":
        return comparison.texts / one.median
    return one.median * 1000 if comparison.measure == "latency" else one.median


def unit(comparison: Comparison) -> str:
    """Return the unit of `value`."""
    return _speed_names(comparison)[0]


def _skipped(comparison: Comparison) -> list[str]:
    """Return a line for each reason not to be run, with all engines that have it."""
    of_reason: dict[str, list[str]] = {}
    for one in comparison.figures:
        if one.skipped:
            of_reason.setdefault(one.skipped, []).append(one.engine)
    return [f"- {', '.join(engines)}: {reason}" for reason, engines in of_reason.items()]


def _speed_names(comparison: Comparison) -> tuple[str, str]:
    first, second = _SPEED[comparison.measure]
    return (first, "MB/s") if comparison.task == "tokenize" else (first, second)


def _speed(comparison: Comparison, one: Figures) -> list[str]:
    first = value(comparison, one)
    if comparison.measure == "latency":
        return [f"{first:.2f}", f"{one.percentile(0.99) * 1000:.2f}"]
    if comparison.measure == "start":
        return [f"{first:.2f}"]
    if comparison.task == "tokenize":
        return [f"{first:,.0f}", f"{comparison.bytes / one.median / 1e6:.1f}"]
    return [f"{first:,.1f}", f"{comparison.tokens / one.median:,.0f}"]


def _spread(comparison: Comparison, one: Figures) -> str:
    if comparison.measure == "latency":
        return ""
    return f"{(max(one.seconds) - min(one.seconds)) / one.median:.0%}"


def _memory(comparison: Comparison, one: Figures) -> list[str]:
    own = comparison.own_bytes(one)
    peak = f"{one.peak / 1e6:,.0f}"
    if one.device_peak:
        peak += f" + {one.device_peak / 1e6:,.0f} GPU"
    return [peak, "" if own is None else f"{own / 1e6:,.0f}"]


def _equality(comparison: Comparison, one: Figures) -> list[str]:
    if one.check is None:
        return ["", ""]
    if comparison.task in ("tokenize", "train"):
        return ["", "equal" if comparison.task == "tokenize" else f"{one.check.difference:.0e}"]
    if one.precision == "fp32":
        return ["1", f"{one.check.difference:.0e}"]
    return [f"{one.check.cosine_mean:.4f} / {one.check.cosine_min:.4f}", ""]


def _marked(one: Figures) -> str:
    return f"**{one.engine}**" if one.is_bertie else one.engine


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return f"| {' | '.join(cells)} |"
