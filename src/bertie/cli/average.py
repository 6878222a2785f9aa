"""``bertie average``: one model of the mean of several models' weights, scored beside each of them."""

import json
from contextlib import nullcontext
from typing import Annotated, Any

from typer import Argument, Option

from bertie.cli import options
from bertie.cli.options import one_or_all
from bertie.cli.verbosity import say
from bertie.errors import InputError
from bertie.files import write_json
from bertie.progress import quietly
from bertie.run_files import read_run


def average(
    models: Annotated[list[str], Argument(help="Folders of two or more models, such as those of several seeds.")],
    out: options.Out,
    data: Annotated[list[str] | None, Option(help="Labelled rows to score the mean and each model on.")] = None,
    task: Annotated[str | None, Option(help="As for bertie evaluate; the default is that of the first run.")] = None,
    *,
    rows: options.RowOptions,
    device: options.Device = None,
) -> None:
    """Average the weights of several models that were fine-tuned from one (a "model soup") into a single model."""
    import bertie

    data = data or []
    learned = _task(task, models[0]) if data else ""
    notes = bertie.average(models, out)
    metrics: dict[str, Any] = {}
    for model in (str(out), *models) if data else ():
        with nullcontext() if model == str(out) else quietly():  # what is said of the rows is said once
            found = bertie.evaluate(learned, one_or_all(data), model=model, device=device, **rows.arguments())
        metrics[model] = found.metrics
    record = {"model": str(out), "averaged": models, "notes": notes, "metrics": metrics.pop(str(out), None)}
    record["metrics_of_each"] = metrics
    write_json(out / "average.json", record)
    print(json.dumps(record, ensure_ascii=False))
    say(*_said(record))


def _task(task: str | None, first: str) -> str:
    """Return the task to score by, which the first model's run names if the user does not."""
    from bertie.tasks.registry import find_learned

    named = task or read_run(first).get("task")
    if named is None:
        raise InputError(f"{first!r} does not say for which task it was trained; name it with --task.")
    return find_learned(str(named)).name


def _said(record: dict[str, Any]) -> list[str]:
    if record["metrics"] is None:
        return ["bertie: the mean is not scored; --data scores it, and each of the models, on rows of yours"]
    rows = {"mean": record["metrics"], **record["metrics_of_each"]}
    names = list(record["metrics"])
    width = max(map(len, rows))
    lines = [f"{'':<{width}} " + " ".join(f"{name:>12}" for name in names)]
    for model, metrics in rows.items():
        cells = ("undefined" if metrics[name] is None else f"{metrics[name]:.4f}" for name in names)
        lines.append(f"{model:<{width}} " + " ".join(f"{cell:>12}" for cell in cells))
    return lines
