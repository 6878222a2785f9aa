"""``bertie.evaluate``: how good a model is on labelled data, with the uncertainty of every metric."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.data import BadRows, Format
from bertie.data.dataset import ExampleReader
from bertie.data.example import Example
from bertie.data.labelling import LabelOptions
from bertie.errors import InputError, counted
from bertie.evaluation.evaluator import CHUNK, Scored, score
from bertie.evaluation.predictions import prediction_writer
from bertie.evaluation.run_record import leakage_warnings
from bertie.markdown import as_html, metrics_line, metrics_table, plain
from bertie.metrics.streaming import REPLICATES
from bertie.pipelines import pipeline
from bertie.progress import logger
from bertie.tasks.registry import find_trainable
from bertie.tasks.task import TrainableTask

if TYPE_CHECKING:
    from bertie.pipelines.factory import Device, Name, Source


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good a model is.

    Attributes:
        metrics: name → value; None where the rows leave a metric undefined (`notes` says why).
        intervals: the 95 % confidence interval of each metric (bootstrap over rows).
        table: the metrics of each class.
        rows: the number of rows scored.
        skipped: the number of bad rows left out.
        truncated: the number of inputs cut because they are longer than the model reads.
        notes: caveats, one sentence each.
        scored: the scores that all of this is taken from, with the worst mistakes.
        read_as: one line on how the columns and labels of the data were read.
    """

    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    table: list[dict[str, Any]]
    rows: int
    skipped: int
    truncated: int
    notes: list[str]
    scored: Scored
    read_as: str

    def __repr__(self) -> str:
        return f"<Evaluation of {counted(self.rows, 'row')}: {metrics_line(self.metrics)}>"

    def _repr_html_(self) -> str:
        lines = [counted(self.rows, "row"), "", *metrics_table(self.metrics, self.intervals), ""]
        return as_html("\n".join([*lines, *(f"- {plain(note)}" for note in self.notes)]))


def evaluate(
    task: str,
    data: object,
    *,
    model: "Source",
    tokenizer: "Name | Callable[..., Any] | None" = None,
    form: str | Format | None = None,
    columns: Mapping[str, Any] | None = None,
    label_names: Sequence[str] | None = None,
    label_map: Mapping[Any, str] | None = None,
    first_choice: int | None = None,
    on_bad_row: str = "error",
    device: "Device | None" = None,
    batch_tokens: int | None = None,
    seed: int = 0,
    worst: int = 0,
    show_progress: bool | None = None,
    predictions: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Evaluation:
    """Score a model on labelled data; texts are read in chunks, so memory hardly grows with the number of rows.

    Args:
        task: as for `bertie.finetune`.
        data: as ``train`` there.
        model: a folder, a name on the hub, or a model (then ``tokenizer`` too).
        tokenizer: None: the model's.
        form, columns, label_names, label_map, first_choice, on_bad_row: as for `bertie.finetune`.
        device, batch_tokens: as for `bertie.pipeline`.
        seed: of the bootstrap.
        worst: how many of the worst mistakes to keep (``scored.mistakes``).
        show_progress: True always shows a progress bar, False never, None on a terminal only.
        predictions: a file to write each scored row to, with its ``prediction`` and where it was read (``where``); a
            table if its name ends in .csv or .tsv, else JSON lines.
        **options: of the task; those saved with the model (windows, thresholds, …) apply by default.

    Raises:
        InputError: there are no rows, or rows that cannot be used.
        CheckpointError: the model's files are missing or damaged.
    """
    row = find_trainable(task)
    pipe = pipeline(row.name, model, tokenizer=tokenizer, device=device, **options)
    scoring: TrainableTask = row.load_trainable().from_inference_task(pipe.codec)
    kind, labels = scoring.expects()
    rows = ExampleReader(
        row.name,
        form=form,
        columns=columns,
        learned=row.saved_columns(pipe.model.config),
        options=LabelOptions.of(kind, label_names, label_map, first_choice),
        bad=BadRows(on_bad_row),
        name="data",
        keeps_fields=predictions is not None,
    )
    examples, line = _labelled(rows, data, labels, getattr(scoring, "scheme", None))
    first = list(islice(examples, CHUNK))
    scoring = scoring.prepare_labels([example.label for example in first])
    with nullcontext() if predictions is None else prediction_writer(Path(predictions), scoring) as write:
        scored = score(
            {"model": scoring},
            pipe.computing,
            chain(first, examples),
            replicates=REPLICATES,
            seed=seed,
            worst=worst,
            batch_tokens=batch_tokens,
            show_progress=show_progress,
            on_predictions=write,
        )["model"]
    return _evaluation(scored, rows, line, leakage_warnings(data, model))


def _labelled(
    rows: ExampleReader, data: object, labels: Sequence[str] | None, scheme: str | None
) -> tuple[Iterator[Example], str]:
    """Return the examples with their labels as the model has them, and a line on how they were read."""
    read = rows.read(data)
    first = list(islice(read, CHUNK))
    labelling = rows.find_labelling(first)
    if labels is not None:
        labelling = labelling.restrict(labels, "the model")
    labelling = labelling.converted_to(scheme)
    line = rows.read_as(labelling, labels or ())
    logger.log(logging.WARNING if rows.guesses_columns else logging.INFO, "%s", line)
    return rows.normalize(chain(first, read), labelling), line


def _evaluation(scored: Scored, rows: ExampleReader, line: str, leakage: Sequence[str]) -> Evaluation:
    scores, bad = scored.scores, rows.bad
    left_out = [bad.summary()] if bad.count else []
    if not scores.count:
        why = " ".join([*rows.warnings(), *left_out])
        raise InputError(f"There is no row to score{f': {why}' if why else '.'}")
    notes = [*leakage, *rows.warnings(), *scored.notes(), *left_out]
    for note in notes:
        logger.warning("%s", note)
    return Evaluation(
        scores.metrics(),
        scored.intervals,
        scores.table(),
        scores.count,
        bad.count,
        scored.num_truncated,
        notes,
        scored,
        line,
    )
