"""``bertie compare``: two models on the same rows, and whether the difference is significant."""

import json
from typing import Annotated

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.options import one_or_all, without_none
from bertie.cli.verbosity import say
from bertie.errors import counted
from bertie.messages import printable


def compare(
    first: Annotated[str, Argument(help="The folder of a run, or a model: a folder or hub name.")],
    second: Annotated[str, Argument(help="The run or model to compare it with.")],
    data: Annotated[
        list[str] | None,
        Option(help="Rows that neither was trained on; may be repeated. The default is the test rows of two runs."),
    ] = None,
    task: Annotated[str | None, Option(help="As for bertie finetune; the default is that of the runs.")] = None,
    *,
    reading: options.ReadingOptions,
    rows: options.LabelledRowOptions,
    form: options.FormatOptions,
    device: options.Device = None,
    batch_tokens: options.BatchTokens = None,
    seed: options.Seed = None,
) -> None:
    """Score two models on the same rows: each metric of both, with the 95 % interval of their difference."""
    import bertie

    found = bertie.compare(
        first,
        second,
        one_or_all(data) if data else None,
        task=task,
        form=form.as_format(),
        device=device,
        batch_tokens=batch_tokens,
        seed=seed or 0,
        **without_none(rows.arguments() | vars(reading)),
    )
    table = [["metric", "first", "second", "difference", "95 % interval", "first is"], *found.table()]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    say(counted(found.rows, "row"))
    for row in table:
        say("  " + printable("  ".join(map(str.ljust, row, widths))).rstrip())
    each = {"first": {"model": first, "metrics": found.first.metrics}}
    each["second"] = {"model": second, "metrics": found.second.metrics}
    values = {"rows": found.rows, "difference": found.difference, "intervals": found.intervals}
    print(json.dumps({**each, **values}, ensure_ascii=False))
