"""The report of a run, as Markdown and HTML: metrics with intervals, mistakes, data, training, and plots."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.errors import counted
from bertie.evaluation.evaluator import Mistake
from bertie.files import write_text
from bertie.markdown import (
    as_html,
    metrics_table,
    number,
    picture,
    plain,
    section,
    settings_table,
    table,
    warnings_section,
)
from bertie.messages import duration
from bertie.metrics.streaming import Intervals, MetricValues
from bertie.pictures.picture import page
from bertie.run_files import HTML_REPORT, REPORT

TEXT_LENGTH = 200
# the use of each split
_PURPOSES = {"train": "learned from", "dev": "chosen by", "test": "scored on"}


@dataclass(frozen=True)
class Part:
    """One split of the data."""

    role: str  # "train", "dev" or "test"
    source: str  # file names, or the origin: "train.csv", "split off from train, …"
    rows: int  # used
    skipped: int = 0  # bad rows left out
    truncated: int = 0  # texts

    @property
    def named(self) -> str:
        return f"{self.role}: {_PURPOSES[self.role]}"


@dataclass(frozen=True)
class Tuned:
    """An option that was tuned on dev."""

    name: str  # "temperature", "thresholds", "no-answer threshold"
    value: str
    effect: str = ""  # what it changed: "calibration error on test 0.091 → 0.034"


@dataclass
class Runs:
    """The metrics of several trainings of one plan."""

    what: str  # how they differ: "seed" or "fold"
    metrics: dict[int, MetricValues] = field(default_factory=dict)  # by number of the seed or fold
    kept: int = 0  # the seed or fold whose model is kept

    def spread(self) -> dict[str, tuple[float, float]]:
        """Return mean and standard deviation of each metric that all of them have."""
        found = {}
        for name in next(iter(self.metrics.values()), {}):
            values = [value for each in self.metrics.values() if (value := each.get(name)) is not None]
            if len(values) == len(self.metrics) > 1:
                found[name] = (statistics.fmean(values), statistics.stdev(values))
        return found

    def to_dict(self) -> dict[str, Any]:
        spread = {name: {"mean": mean, "deviation": deviation} for name, (mean, deviation) in self.spread().items()}
        return {"spread": spread, f"by_{self.what}": self.metrics, f"kept_{self.what}": self.kept}


@dataclass(frozen=True)
class RunSummary:
    """The contents of the report."""

    task: str
    model: str  # the starting model
    main: str  # the metric of the headline
    # on the scored data, as in `Scores`
    metrics: MetricValues
    intervals: Intervals = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()
    meaning: str = ""  # explains names of metrics such as f1
    data: Sequence[Part] = ()
    read_as: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  # with defaults filled in
    seconds: float = 0.0
    steps: int = 0
    best_step: int | None = None  # whose model was kept; None: the last
    ended_early: str = ""  # why: "nothing improved"; empty if it did not
    tuned: Sequence[Tuned] = ()
    runs: Runs | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)  # file names in the run folder with captions
    mistakes: Sequence[Mistake] = ()  # the worst first
    warnings: Sequence[str] = ()  # about bad rows, truncated texts, one-class predictions and the like
    notes: Sequence[str] = ()  # about the training, such as how its settings were chosen
    made_with: str = ""


def write_report(summary: RunSummary, folder: Path) -> Path:
    """Write the report into the run folder, as HTML too, and return the path of ``report.md``, which comes last."""
    path, text = folder / REPORT, render(summary)
    write_text(folder / HTML_REPORT, _as_page(text, summary, folder))
    write_text(path, text)
    return path


def _as_page(text: str, summary: RunSummary, folder: Path) -> str:
    """Return the report as one HTML page with embedded pictures."""
    for name, what in summary.pictures.items():
        text = text.replace(f"![{plain(what)}]({name})", picture(folder / name, plain(what)))
    return page(f"{summary.task}: {summary.model}", as_html(text))


def render(summary: RunSummary) -> str:
    """Return the report as Markdown, with all markup in texts of the data escaped."""
    sections = (
        head_section(summary),
        warnings_section(summary.warnings),
        metrics_section(summary),
        _runs(summary.runs),
        _classes(summary.table),
        _mistakes(summary.mistakes),
        _data(summary),
        _training(summary),
        _tuned(summary.tuned),
        _pictures(summary.pictures),
    )
    end = f"\n---\n\n{plain(summary.made_with)}\n" if summary.made_with else ""
    return "\n".join(section for section in sections if section) + end


def head_section(summary: RunSummary) -> str:
    """Return the headline: the main metric with its interval or spread."""
    if not summary.metrics:
        return f"# {plain(summary.task)}\n\n{plain(summary.model)}, fine-tuned; it was not scored.\n"
    runs, main = summary.runs, plain(summary.main)
    spread = {} if runs is None or runs.what != "fold" else runs.spread()
    if runs is not None and summary.main in spread:
        value = " ± ".join(map(number, spread[summary.main]))
        end = (
            f" in {len(runs.metrics)} folds (mean and standard deviation), each scored on rows that its model had not "
            "seen"
        )
    else:
        value, interval = number(summary.metrics.get(summary.main)), summary.intervals.get(summary.main)
        scored = [part for part in summary.data if part.role == "test"]
        end = f" on {counted(scored[-1].rows, 'row')} ({plain(scored[-1].source)})" if scored else ""
        end += f", 95% interval {number(interval[0])} to {number(interval[1])}" if interval else ""
    return (
        f"# {plain(summary.task)}: {main} {value}\n\n"
        f"{plain(summary.model)}, fine-tuned, reaches {main} **{value}**{end}.\n"
    )


def metrics_section(summary: RunSummary) -> str:
    """Return all metrics with their intervals."""
    note = (
        "The intervals cover the variation over samples of as many rows (bootstrap over rows), not the variation over "
        "trainings."
    )
    lines = metrics_table(summary.metrics, summary.intervals)
    if summary.meaning:
        lines += ["", f"{plain(summary.meaning)}."]
    return section("Metrics", lines + (["", note] if summary.intervals else []))


def _runs(runs: Runs | None) -> str:
    spread = {} if runs is None else runs.spread()
    if runs is None or not spread:
        return ""
    rows = [[str(at), *(number(each.get(name)) for name in spread)] for at, each in runs.metrics.items()]
    rows.append(["mean ± deviation", *(f"{number(mean)} ± {number(deviation)}" for mean, deviation in spread.values())])
    note = f"The model in this folder, and the rest of this report, are those of {runs.what} {runs.kept}."
    return section(f"{runs.what}s".capitalize(), [*table([runs.what, *map(plain, spread)], rows), "", note])


def _classes(classes: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [plain(row["label"], 60), *(number(row[name]) for name in ("precision", "recall", "f1")), f"{row['support']:,}"]
        for row in classes
    ]
    return section("By class", table(["class", "precision", "recall", "F1", "rows"], rows))


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    rows = []
    for one in mistakes:
        texts = [plain(text, TEXT_LENGTH) for text in (one.text, one.gold, one.predicted)]
        rows.append([*texts, "" if one.score is None else number(one.score), plain(one.where)])
    return section("Worst errors", table(["text", "right", "predicted", "score", "where"], rows))


def _data(summary: RunSummary) -> str:
    rows = [
        [part.named, plain(part.source), f"{part.rows:,}", f"{part.skipped:,}", f"{part.truncated:,}"]
        for part in summary.data
    ]
    read_as = [f"Read as: {plain(summary.read_as)}", ""] if summary.read_as else []
    return section("Data", read_as + table(["split", "from", "rows", "bad rows left out", "texts cut"], rows))


def _training(summary: RunSummary) -> str:
    kept = f"; the model of step {summary.best_step:,} was kept" if summary.best_step is not None else ""
    early = f", ended early because {summary.ended_early}" if summary.ended_early else ""
    lines = [f"{counted(summary.steps, 'step')} in {duration(summary.seconds)}{early}{kept}.", ""]
    lines += [line for note in summary.notes for line in (plain(note), "")]
    return section("Training", lines + settings_table(summary.settings))


def _tuned(tuned: Sequence[Tuned]) -> str:
    rows = [[plain(one.name), plain(one.value, 4000), plain(one.effect)] for one in tuned]
    lines = table(["what", "value", "effect"], rows)
    if not lines:
        return ""
    note = "Tuned on dev, never on test; saved in `config.json` and used from there."
    return section("Tuned", [note, "", *lines])


def _pictures(pictures: Mapping[str, str]) -> str:
    lines: list[str] = []
    for name, what in pictures.items():
        lines += [f"![{plain(what)}]({name})", "", f"{plain(what)}.", ""]
    return section("Pictures", lines[:-1])
