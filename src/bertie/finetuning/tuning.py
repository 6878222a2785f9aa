"""Dev: metrics and loss at each evaluation, and the options that are tuned on it at the end."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bertie.data.example import Example
from bertie.errors import InputError, nearest, spelled
from bertie.evaluation.evaluator import Scored
from bertie.models.task_model import TaskModel
from bertie.settings import BATCH_SIZE
from bertie.tasks.features import Outputs, Values
from bertie.tasks.inference import compute_rows
from bertie.tasks.task import TrainableTask

LOSS = "loss"


class Tuning:
    """The examples of dev, by which the best epoch and the task's options are chosen.

    ``task`` has the options of the training, and is replaced by the result of `on_train_end` afterwards.
    """

    def __init__(self, task: TrainableTask, model: Any, examples: list[Example]) -> None:
        self.task, self.model, self.examples = task, model, examples
        self.features = task.encode([example.text for example in examples])
        self._last: Scored | None = None
        self._rows: list[Any] | None = None
        self.values: Values = []

    def metrics(self) -> Mapping[str, float]:
        """Return the model's metrics, and its loss."""
        rows = self._rows = self._compute_rows()
        self._last = Scored(self.task)
        self._last.add(self._outputs(rows), self.examples)
        found = {name: float("nan") if value is None else value for name, value in self._last.scores.metrics().items()}
        return found if LOSS in found else {**found, LOSS: self._loss(rows)}

    def warning(self, _: Mapping[str, float]) -> str | None:
        """Return a warning if the last answers were all the same."""
        return None if self._last is None else self._last.warning()

    def invalidate(self) -> None:
        """Discard the cached outputs: the model has changed since the last evaluation."""
        self._rows = None

    def tune(self) -> TrainableTask:
        """Return the task with its options tuned on these examples, once the model is trained."""
        if not self.examples:
            return self.task
        outputs = self._outputs(self._compute_rows() if self._rows is None else self._rows)
        self.values = outputs.values
        return self.task.tune(outputs)

    @property
    def labels(self) -> list[Any]:
        return [example.label for example in self.examples]

    def _compute_rows(self) -> list[Any]:
        return compute_rows(self.task, TaskModel(self.model), self.features)

    def _outputs(self, rows: Sequence[Any]) -> Outputs:
        return self.task.outputs(rows, self.features, self.labels)

    def _loss(self, rows: Sequence[Any]) -> float:
        """Return the training loss, without label smoothing, of computed rows in input order."""
        task = self.task
        if "label_smoothing" in task.options():
            task = task.with_options(label_smoothing=0.0)
        features = task.add_labels(self.features, self.labels)
        firsts = features.first_rows
        model = TaskModel(self.model)
        total: Any = 0.0
        divisor: Any = 0.0
        # in batches of the default size, which matters if a loss compares inputs with each other
        for begin in range(0, features.num_inputs, BATCH_SIZE):
            inputs = range(begin, min(begin + BATCH_SIZE, features.num_inputs))
            part = features.select_inputs(inputs)
            with model.inference():
                if task.loss_of_answers:
                    output: Any = _to_tensor(rows[firsts[begin] : firsts[inputs.stop]])
                else:
                    output = task.run(model, part)
                total = total + task.loss(output, part).double().cpu().numpy()
            counts = task.divisor(part)
            divisor = divisor + np.asarray([*counts.values()] if isinstance(counts, Mapping) else counts)
        return float((total / divisor).sum()) if np.all(divisor) else float("nan")


def _to_tensor(rows: Sequence[Any]) -> torch.Tensor:
    """Return the outputs of rows ``[R, ...]``, or of the tokens of rows ``[T, ...]``, as one tensor."""
    arrays = [np.asarray(row) for row in rows]
    return torch.from_numpy(np.stack(arrays) if arrays[0].ndim == 1 else np.concatenate(arrays))


def check_metric(metric: str | None, names: Iterable[str], task: str) -> None:
    known = list(dict.fromkeys([*names, LOSS]))
    if metric is not None and metric not in known:
        raise InputError(
            f"{spelled('metric', metric)}: {task} has no such metric; it has {', '.join(known)}."
            f"{nearest(str(metric), known)}"
        )
