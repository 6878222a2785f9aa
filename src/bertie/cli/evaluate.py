"""``bertie evaluate``: a model's metrics on labelled rows, as a JSON object and as a table."""

import json
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.options import one_or_all, without_none
from bertie.cli.verbosity import say
from bertie.errors import counted
from bertie.messages import printable

if TYPE_CHECKING:
    from bertie.evaluation import Evaluation
    from bertie.evaluation.evaluator import Scored


def evaluate(
    task: Annotated[str, Argument(help="As for bertie finetune.")],
    data: Annotated[list[str], Option(help="Labelled rows: a file, a folder or a pattern in quotes; may be repeated.")],
    model: Annotated[str, Option("--model", "-m", help="A folder or hub name.")],
    *,
    reading: options.ReadingOptions,
    rows: options.LabelledRowOptions,
    form: options.FormatOptions,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
    seed: options.Seed = None,
    predictions: Annotated[
        Path | None, Option(help="Write each row with its prediction to this file: .jsonl, .csv or .tsv.")
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
        **without_none(vars(reading)),
    )
    say(*score_table(found.scored))
    print(json.dumps(_record(task, model, data, found), ensure_ascii=False))


def score_table(found: "Scored") -> list[str]:
    """Return the metrics, and the table of classes, as lines for a terminal."""
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
