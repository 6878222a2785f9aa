"""The file of predictions: labelled rows as they were given, each with what the model says of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertie.data.example import Example
from bertie.data.records import records
from bertie.evaluation.evaluator import Watch
from bertie.files import atomic
from bertie.tasks.features import Values
from bertie.tasks.task import TrainableTask
from bertie.writing import output_format, with_answer, writer

# in the folder of a run: those of its test rows
PREDICTIONS = "predictions.jsonl"
# what stands beside a row
_ADDED = ("prediction", "where")


@contextmanager
def written_to(path: Path, task: TrainableTask) -> Iterator[Watch]:
    """Give what writes examples with their predictions to a file, which holds its old content or all of the new."""
    form = output_format(path)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = writer(form, file)

        def watch(examples: Sequence[Example], predictions: Values) -> None:
            for example, prediction in zip(examples, predictions, strict=True):
                added = dict(zip(_ADDED, (task.plain(prediction), example.where), strict=True))
                out.write(with_answer(example.fields or {}, added))

        yield watch
        out.end()


def rows_in(path: Path) -> list[dict[str, Any]]:
    """Return the rows of such a file as they were given: `with_answer` has renamed what is called like an answer."""
    own = {f"input_{name}": name for name in _ADDED}
    return [
        {own.get(name, name): value for name, value in row.fields.items() if name not in _ADDED}
        for row in records(path)
    ]
