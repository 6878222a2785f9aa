"""The folder of a run: the model in hub layout, metrics as JSON, plots, and a report."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bertie.data.records import digests_of
from bertie.evaluation.predictions import PREDICTIONS, prediction_writer
from bertie.files import make_folder, write_json
from bertie.finetuning import plots
from bertie.finetuning.model_card import write_card
from bertie.finetuning.model_folder import save_model
from bertie.finetuning.plan import source_name
from bertie.finetuning.resuming import digest_of_rows
from bertie.finetuning.run import Outcome
from bertie.finetuning.run_report import Part, Runs, RunSummary, Tuned, write_report
from bertie.hub import usual_name
from bertie.machine import describe, made_with
from bertie.markdown import number
from bertie.metrics import ClassificationMetric
from bertie.progress import logger
from bertie.run_files import REPORT, RESULTS, RUN, STATE
from bertie.training import drawing, is_first
from bertie.training.curves import draw_curves


def write_folder(
    outcome: Outcome,
    runs: Runs | None = None,
    notes: Sequence[str] = (),
    pictures: Mapping[str, str] | None = None,
) -> None:
    """Write everything into ``outcome.job.plan.out``; the report comes last, so a folder that has one is complete.

    Of several processes, the first writes.
    """
    folder = outcome.job.plan.out
    assert folder is not None
    if not is_first():
        return
    make_folder(folder)
    for name in (REPORT, PREDICTIONS):  # left by a run that was extended
        (folder / name).unlink(missing_ok=True)
    save_model(folder, outcome.job.plan.row, outcome.task, outcome.model)
    several = {} if runs is None else runs.to_dict()
    write_json(folder / RUN, {**outcome.job.plan.to_dict(), **_used(outcome, runs), **several})
    write_json(folder / RESULTS, {**metrics_of(outcome), **several})
    if parts := outcome.job.parts.test:
        with prediction_writer(folder / PREDICTIONS, outcome.task) as write:
            write(parts, outcome.predictions)
    drawn = {**_draw(outcome, folder), **_draw_runs(runs, folder), **(pictures or {})}
    summary = replace(_summary(outcome, drawn), runs=runs, notes=notes)
    write_card(summary, outcome.job.plan.row, outcome.task, outcome.job.plan.model, folder)
    write_report(summary, folder)


def _used(outcome: Outcome, runs: Runs | None) -> dict[str, Any]:
    """Return the settings, data and machine that a run used, which `rerun.arguments_of` reads back."""
    plan, data, parts = outcome.job.plan, outcome.job.data, outcome.job.parts
    files = {
        name: digest for source in (plan.train, plan.test, plan.dev) for name, digest in digests_of(source).items()
    }
    return {
        "rows": parts.counts,
        "settings": outcome.history.settings,
        "read_as": data.read_as,
        **({"seed": list(runs.metrics)} if runs is not None and runs.what == "seed" else {}),
        "data": {"rows": digest_of_rows(parts.train, parts.dev, parts.test), "files": files},
        "machine": describe(),
    }


def remove_state(folder: Path) -> None:
    """Remove the state of a finished run, which is larger than all else in its folder."""
    shutil.rmtree(folder / STATE, ignore_errors=True)


def metrics_of(outcome: Outcome) -> dict[str, Any]:
    scored, before = outcome.scored, outcome.untuned
    found: dict[str, Any] = {
        "rows": scored.scores.count,
        "metrics": scored.metrics,
        "intervals": scored.intervals,
        "table": scored.table,
        **({} if scored.positive is None else {"positive": scored.positive}),
        "calibration_error": scored.calibration_error,
    }
    if before is not None:
        found["before_tuning"] = {"metrics": before.metrics, "calibration_error": before.calibration_error}
    return found


def _draw(outcome: Outcome, folder: Path) -> dict[str, str]:
    """Draw the plots that apply; return their file names with captions."""
    if why := drawing.why_no_plots():
        logger.warning("No plots were drawn: %s", why)
        return {}
    main = outcome.job.plan.metric or outcome.task.metric().main
    history, scored, before = outcome.history, outcome.scored, outcome.untuned
    task: Any = outcome.task
    draw_curves(history.records, main, history.best_step, folder / "curves.png", "dev")
    drawn = {"curves.png": f"Loss on train and dev, and {main} on dev, by step"}
    metric = scored.scores.metric
    if scored.scores.count and isinstance(metric, ClassificationMetric):
        plots.draw_confusion(metric.confusion(scored.scores), metric.labels, folder / "confusion.png")
        drawn["confusion.png"] = "Confusion matrix: how often each class was predicted as each"
    if before is not None and before.reliability is not None and scored.reliability is not None:
        temperature = getattr(task, "temperature", 1.0)
        plots.draw_reliability(before.reliability, scored.reliability, temperature, folder / "reliability.png")
        drawn["reliability.png"] = "Accuracy by confidence, before and after tuning"
    thresholds, tuning = getattr(task, "thresholds", None), outcome.tuning
    if thresholds is not None and len(tuning.values):
        truth = np.asarray(task.references(tuning.labels))
        names = list(task.config.id2label.values())
        plots.draw_thresholds(task.scores(tuning.values), truth, thresholds, names, folder / "thresholds.png")
        drawn["thresholds.png"] = "F1 by threshold on dev"
    return drawn


def _draw_runs(runs: Runs | None, folder: Path) -> dict[str, str]:
    spread = {} if runs is None or drawing.why_no_plots() else runs.spread()
    if runs is None or not spread:
        return {}
    name = f"{runs.what}s.png"
    plots.draw_runs(runs.metrics, spread, runs.what, folder / name)
    return {name: f"Each metric by {runs.what}, with mean and standard deviation"}


def _summary(outcome: Outcome, pictures: Mapping[str, str]) -> RunSummary:
    plan, history, scored = outcome.job.plan, outcome.history, outcome.scored
    parts, read = outcome.job.parts, outcome.job.data
    cut = {"train": outcome.cut, "dev": outcome.tuning.features.num_truncated, "test": scored.num_truncated}
    bad = {"train": read.bad.count, "dev": 0, "test": 0}
    counts = parts.counts.items()
    data = [Part(name, parts.sources[name], count, bad[name], cut[name]) for name, count in counts if count]
    return RunSummary(
        task=plan.row.name,
        model=usual_name(source_name(plan.model)),
        main=scored.scores.metric.main,
        metrics=scored.metrics,
        intervals=scored.intervals,
        table=scored.table,
        meaning=scored.meaning if scored.metrics else "",
        data=data,
        read_as=read.read_as,
        settings={**history.settings, "max_length": outcome.task.limit, **plan.options},
        seconds=history.seconds,
        steps=history.step,
        best_step=history.best_step,
        ended_early="a callback ended it" if history.asked_to_stop else "nothing improved" * history.stopped_early,
        tuned=_tuned(outcome),
        pictures=pictures,
        mistakes=scored.mistakes,
        warnings=outcome.warnings,
        made_with=made_with(),
    )


def _tuned(outcome: Outcome) -> list[Tuned]:
    if outcome.untuned is None:
        return []
    before, after = outcome.untuned, outcome.scored
    main = after.scores.metric.main
    found = []
    for name in outcome.task.saved:
        value = getattr(outcome.task, name)
        if value == getattr(outcome.tuning.task, name):
            continue
        effect = ""
        errors = before.calibration_error, after.calibration_error
        if name == "temperature" and None not in errors:
            effect = "calibration error on test {:.3f} → {:.3f}".format(*errors)
        elif main in before.metrics:
            effect = f"{main} on test {number(before.metrics[main])} → {number(after.metrics[main])}"
        shown = str(value)
        if name == "thresholds":
            labels = outcome.task.config.id2label.values()
            shown = ", ".join(f"{label} {threshold:.3g}" for label, threshold in zip(labels, value, strict=True))
        found.append(Tuned(name, shown, effect))
    return found
