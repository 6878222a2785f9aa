"""The predictions file: labelled rows as they were given, each with the model's prediction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertie.data.example import Example
from bertie.data.records import records
from bertie.evaluation.evaluator import OnPredictions
from bertie.files import atomic
from bertie.tasks.features import Values
from bertie.tasks.task import TrainableTask
from bertie.writing import output_format, with_answer, writer

PREDICTIONS = "predictions.jsonl"  # those of a run's test rows, in its folder
_ADDED = ("prediction", "where")


@contextmanager
def prediction_writer(path: Path, task: TrainableTask) -> Iterator[OnPredictions]:
    """Yield a function that writes examples with their predictions; the file is replaced once all are written."""
    form = output_format(path)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = writer(form, file)

        def write(examples: Sequence[Example], predictions: Values) -> None:
            for example, prediction in zip(examples, predictions, strict=True):
                added = dict(zip(_ADDED, (task.to_json(prediction), example.where), strict=True))
                out.write(with_answer(example.fields or {}, added))

        yield write
        out.end()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of such a file as they were given, undoing the renaming of clashing columns by `with_answer`."""
    renamed = {f"input_{name}": name for name in _ADDED}
    return [
        {renamed.get(name, name): value for name, value in row.fields.items() if name not in _ADDED}
        for row in records(path)
    ]
