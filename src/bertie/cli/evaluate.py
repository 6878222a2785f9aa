"""``bertie evaluate``: how good a model is on labelled rows, as one JSON object, and a table for a person."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertie.cli import options
from bertie.cli.options import given_of, one_or_all
from bertie.cli.score_table import score_table
from bertie.cli.verbosity import say

if TYPE_CHECKING:
    from bertie.evaluation import Evaluation


def evaluate(
    task: Annotated[str, typer.Argument(help="As for bertie finetune.")],
    data: Annotated[
        list[str],
        typer.Option(help="Labelled rows: a file, a folder or a pattern in quotes; may be repeated."),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="A folder, or a model's name in the hub.")],
    *,
    reading: options.ReadingOptions,
    rows: options.LabelledRowOptions,
    form: options.FormatOptions,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
    seed: options.Seed = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Write each row with its prediction to this file: .jsonl, .csv or .tsv."),
    ] = None,
) -> None:
    """Score a model on labelled rows: metrics with 95 % intervals."""
    import bertie

    found = bertie.evaluate(
        task,
        one_or_all(data),
        model=model,
        form=form.as_format(),
        device=device,
        batch_tokens=batch_tokens,
        seed=seed or 0,
        predictions=predictions,
        **rows.arguments(),
        **given_of(vars(reading)),
    )
    say(*score_table(found.scored))
    print(json.dumps(_record(task, model, data, found), ensure_ascii=False))


def _record(task: str, model: str, data: list[str], found: "Evaluation") -> dict[str, Any]:
    return {
        "task": task,
        "model": model,
        "data": one_or_all(data),
        "read_as": found.read_as,
        "rows": found.rows,
        "skipped": found.skipped,
        "truncated": found.truncated,
        "metrics": found.metrics,
        "intervals": found.intervals,
        "classes": found.table,
        **({} if found.scored.positive is None else {"positive": found.scored.positive}),
        "notes": found.notes,
    }
