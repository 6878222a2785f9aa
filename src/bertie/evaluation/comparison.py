"""``bertie.compare``: two models on the same rows, and whether they differ by more than sampling noise."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import InputError, counted, spelled
from bertie.evaluation.evaluation import Evaluation, evaluate
from bertie.evaluation.evaluator import Scored
from bertie.evaluation.predictions import PREDICTIONS, read_rows
from bertie.markdown import as_html, metrics_line, plain
from bertie.markdown import number as shown
from bertie.markdown import table as table_of
from bertie.messages import listed
from bertie.metrics.streaming import LOWER_IS_BETTER, paired_difference
from bertie.progress import logger
from bertie.run_files import read_run
from bertie.tasks.registry import find_trainable

# the arguments of a run that determine how its rows are read
_READING_OPTIONS = ("columns", "label_names", "label_map", "first_choice")


@dataclass(frozen=True, repr=False)
class Comparison:
    """How much better one model is than another on the same rows.

    Attributes:
        difference: each metric of the first model minus that of the second; None where one of them is undefined.
        intervals: the 95 % confidence interval of each difference (paired bootstrap over rows).
        first, second: the evaluation of each model.
    """

    difference: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    first: Evaluation
    second: Evaluation

    @property
    def rows(self) -> int:
        """The number of rows scored."""
        return self.first.rows

    def verdict(self, metric: str) -> str:
        """Return whether the first model is "better" or "worse" beyond sampling noise, or "no winner"."""
        interval = self.intervals[metric]
        if interval is None or interval[0] <= 0 <= interval[1]:
            return "no winner"
        return "better" if (interval[0] > 0) != (metric in LOWER_IS_BETTER) else "worse"

    def table(self) -> list[list[str]]:
        """Return one row per metric: name, both values, difference, interval, verdict."""
        rows = []
        for name, value in self.difference.items():
            ends = self.intervals[name]
            values = shown(self.first.metrics.get(name)), shown(self.second.metrics.get(name))
            interval = f"{ends[0]:+.4f} to {ends[1]:+.4f}" if ends else ""
            rows.append([name, *values, "" if value is None else f"{value:+.4f}", interval, self.verdict(name)])
        return rows

    def __repr__(self) -> str:
        return f"<Comparison on {counted(self.rows, 'row')}: {metrics_line(self.difference)}>"

    def _repr_html_(self) -> str:
        rows = [list(map(plain, row)) for row in self.table()]
        lines = table_of(["metric", "first", "second", "difference", "95% interval", "verdict on first"], rows)
        return as_html("\n".join([counted(self.rows, "row"), "", *lines]))


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    data: object = None,
    *,
    task: str | None = None,
    **options: Any,
) -> Comparison:
    """Score two models on the same rows and compare them row by row.

    ``bertie.compare("runs/a", "runs/b")`` takes the test rows of two runs that were scored on the same ones.

    Args:
        first, second: the folders of two runs, or any two models: folders or names on the hub.
        data: labelled rows that neither was trained on, as for `bertie.evaluate`; None: the test rows of the runs.
        task: as for `bertie.finetune`; None: that of the runs.
        **options: of `bertie.evaluate`: columns, label_map, device, seed, …; by default columns and labels are read as
            the first run read them.

    Raises:
        InputError: task or data are left out, but the folders are not runs, or the runs were scored on different rows;
            or a row was scored for one model only.
        CheckpointError: a model's files are missing or damaged.
    """
    runs = [read_run(name) for name in (first, second)]
    if task is None:
        task = _task_of(runs, (first, second))
    if data is None:
        data = _test_rows(first, second)
    run = next(filter(None, runs), {})
    options = {name: run[name] for name in _READING_OPTIONS if name in run} | options
    one, two = (evaluate(task, data, model=model, **options) for model in (first, second))
    difference, intervals = paired_difference(one.scored.scores, two.scored.scores)
    if one.scored.checksum != two.scored.checksum:
        raise InputError(
            f"Each model was scored on {counted(one.rows, 'row')}, but not on the same ones: different rows were left "
            "out as bad; compare them on rows that both can be scored on."
        )
    _warn_of_different_classes(one.scored, two.scored)
    return Comparison(difference, intervals, one, two)


def _task_of(runs: list[dict[str, Any]], names: tuple[Any, Any]) -> str:
    # older runs use other names for the same tasks
    tasks = [find_trainable(run["task"]).name for run in runs if isinstance(run.get("task"), str)]
    if not tasks:
        named = " nor ".join(repr(str(name)) for name in names)
        raise InputError(f"Neither {named} is a run that states its task; name it: {spelled('task', '…')}.")
    if tasks[0] != tasks[-1]:
        raise InputError(
            f"{str(names[0])!r} was trained for {tasks[0]}, and {str(names[1])!r} for {tasks[1]}; compare two models "
            "of the same task."
        )
    return tasks[0]


def _warn_of_different_classes(first: Scored, second: Scored) -> None:
    classes = [sorted(row["label"] for row in each.table) for each in (first, second)]
    if classes[0] == classes[1] and first.positive == second.positive:
        return
    of_first, of_second = (
        listed([each.positive] if each.positive else found)
        for each, found in zip((first, second), classes, strict=True)
    )
    logger.warning(
        "Precision, recall and f1 refer to %s in the first model and to %s in the second: they do not say which is "
        "better.",
        of_first,
        of_second,
    )


def _test_rows(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the test rows of two runs; they must be the same."""
    paths = [Path(name) / PREDICTIONS for name in (first, second)]
    name_rows = f"name rows that neither model was trained on: {spelled('data', '…')}"
    for path in paths:
        if not path.exists():
            raise InputError(f"{str(path.parent)!r} keeps no test rows; {name_rows}.")
    rows, others = map(read_rows, paths)
    if rows != others:
        raise InputError(f"{str(first)!r} and {str(second)!r} were scored on different rows; {name_rows}.")
    return rows
