"""``bertie average``: a model with the mean of several models' weights, scored beside each of them."""

import json
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
    task: Annotated[str | None, Option(help="As for bertie evaluate; the default is the first run's.")] = None,
    *,
    rows: options.RowOptions,
    device: options.Device = None,
) -> None:
    """Average the weights of models fine-tuned from the same one (a "model soup")."""
    import bertie
    from bertie.checkpoints.new_folder import check_new

    check_new(out)
    task_name = _task(task, models[0]) if data else ""

    def metrics_of(model: str) -> Any:
        return bertie.evaluate(
            task_name, one_or_all(data or []), model=model, device=device, **rows.arguments()
        ).metrics

    of_each: dict[str, Any] = {}
    if data:
        with quietly():  # now, so that unusable rows are refused before anything is written
            of_each = {models[0]: metrics_of(models[0])}
    notes = bertie.average(models, out)
    metrics = metrics_of(str(out)) if data else None
    with quietly():  # messages about the rows appeared above
        of_each |= {model: metrics_of(model) for model in models[1:] if data}
    record = {"model": str(out), "averaged": models, "notes": notes, "metrics": metrics, "metrics_of_each": of_each}
    write_json(out / "average.json", record)
    print(json.dumps(record, ensure_ascii=False))
    say(*_table(record))


def _task(task: str | None, first: str) -> str:
    """Return the task to score; by default, the one that the first model's run names."""
    from bertie.tasks.registry import find_trainable

    named = task or read_run(first).get("task")
    if named is None:
        raise InputError(f"{first!r} does not say what task it was trained for; name it with --task.")
    return find_trainable(str(named)).name


def _table(record: dict[str, Any]) -> list[str]:
    if record["metrics"] is None:
        return ["bertie: the mean is not scored; --data ROWS scores it and each of the models"]
    rows = {"mean": record["metrics"], **record["metrics_of_each"]}
    names = list(record["metrics"])
    width = max(map(len, rows))
    lines = [f"{'':<{width}} " + " ".join(f"{name:>12}" for name in names)]
    for model, metrics in rows.items():
        cells = ("undefined" if metrics[name] is None else f"{metrics[name]:.4f}" for name in names)
        lines.append(f"{model:<{width}} " + " ".join(f"{cell:>12}" for cell in cells))
    return lines
