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
from bertie.evaluation.predictions import written_to
from bertie.evaluation.run_record import warnings_of_learned
from bertie.markdown import as_html, metrics_line, metrics_table, plain
from bertie.metrics.streaming import REPLICATES
from bertie.pipelines import pipeline
from bertie.progress import logger
from bertie.tasks.registry import find_learned
from bertie.tasks.task import TrainableTask

if TYPE_CHECKING:
    from bertie.pipelines.factory import Device, Name, Source


@dataclass(frozen=True, repr=False)
class Evaluation:
    """How good a model is.

    Attributes:
        metrics: each by its name; None where the rows leave one undefined (`notes` says why).
        intervals: of each metric: 95 % of other samples of as many rows would give one within.
        table: the metrics of each class.
        rows: how many were scored.
        skipped: bad rows that were left out.
        truncated: inputs that were longer than the model reads.
        notes: what should be known.
        scored: all of it.
        read_as: what was read as what, in one line.
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
    """Score a model on labelled data; memory does not grow with the number of rows.

    Args:
        task: as for `bertie.finetune`.
        data: as ``train`` there.
        model: a folder, a name in the hub, or a model (then ``tokenizer`` too).
        tokenizer: None: the model's.
        form, columns, label_names, label_map, first_choice, on_bad_row: as for `bertie.finetune`.
        device, batch_tokens: as for `bertie.pipeline`.
        seed: of the bootstrap.
        worst: how many of the worst mistakes to keep (``scored.mistakes``).
        show_progress: True shows a bar always, False never, None on a terminal only.
        predictions: a file to write: each row that is scored with its ``prediction`` and where it stands; a table if
            its name ends in .csv or .tsv, else JSON lines.
        **options: of the task; those that training settled (windows, thresholds, …) hold without being named.

    Raises:
        InputError: no rows, or rows that cannot be used.
        CheckpointError: the model's files are missing or damaged.
    """
    row = find_learned(task)
    pipe = pipeline(row.name, model, tokenizer=tokenizer, device=device, **options)
    scoring: TrainableTask = row.load_trained().from_inference_task(pipe.codec)
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
    examples, line = _read(rows, data, labels, getattr(scoring, "scheme", None))
    begin = list(islice(examples, CHUNK))
    scoring = scoring.prepare_labels([example.label for example in begin])
    with nullcontext() if predictions is None else written_to(Path(predictions), scoring) as watch:
        scored = score(
            {"model": scoring},
            pipe.computing,
            chain(begin, examples),
            replicates=REPLICATES,
            seed=seed,
            worst=worst,
            batch_tokens=batch_tokens,
            show_progress=show_progress,
            watch=watch,
        )["model"]
    return _evaluation(scored, rows, line, warnings_of_learned(data, model))


def _read(
    rows: ExampleReader, data: object, labels: Sequence[str] | None, scheme: str | None
) -> tuple[Iterator[Example], str]:
    """Return the examples with their labels as the model has them, and what was read as what."""
    written = rows.read(data)
    first = list(islice(written, CHUNK))
    labelling = rows.find_labelling(first)
    if labels is not None:
        labelling = labelling.restrict(labels, "the model")
    labelling = labelling.converted_to(scheme)
    line = rows.read_as(labelling, labels or ())
    logger.log(logging.WARNING if rows.guesses_columns else logging.INFO, "%s", line)
    return rows.normalize(chain(first, written), labelling), line


def _evaluation(scored: Scored, rows: ExampleReader, line: str, learned: Sequence[str]) -> Evaluation:
    scores, bad = scored.scores, rows.bad
    left_out = [bad.summary()] if bad.count else []
    if not scores.count:
        why = " ".join([*rows.warnings(), *left_out])
        raise InputError(f"There is no row to score{f': {why}' if why else '.'}")
    notes = [*learned, *rows.warnings(), *scored.notes(), *left_out]
    for note in notes:
        logger.warning("%s", note)
    return Evaluation(
        scores.metrics(), scored.intervals, scores.table(), scores.count, bad.count, scored.cut, notes, scored, line
    )
