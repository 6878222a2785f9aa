"""What a task computes with a PyTorch model, in the few words that tests have for it."""

from typing import Any

from bertie.models.task_model import TaskModel
from bertie.tasks.features import Features, Values
from bertie.tasks.inference import compute_rows
from bertie.tasks.task import Task


def compute(task: Task, model: Any, features: Features, **limits: Any) -> Values:
    """Return one value an input."""
    return task.combine(compute_rows(task, TaskModel(model), features, **limits), features)


def loss_of(task: Any, model: Any, features: Features) -> Any:
    """Return the summed loss of labelled features."""
    return task.loss(task.run(TaskModel(model), features), features)
