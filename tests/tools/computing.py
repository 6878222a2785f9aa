"""What a task computes with a PyTorch model, in the few words that tests have for it."""

from pathlib import Path
from typing import Any

import bertie
from bertie.engine import Engine
from bertie.models.task_model import TaskModel
from bertie.tasks.features import Features, Values
from bertie.tasks.inference import compute_rows
from bertie.tasks.registry import find
from bertie.tasks.task import Task


def compute(task: Task, model: Any, features: Features, **limits: Any) -> Values:
    """Return one value an input."""
    asked = model if isinstance(model, Engine) else TaskModel(model)
    return task.combine(compute_rows(task, asked, features, **limits), features)


def loss_of(task: Any, model: Any, features: Features) -> Any:
    """Return the summed loss of labelled features."""
    return task.loss(task.run(TaskModel(model), features), features)


def of_module(task: str, folder: Path, **options: Any) -> Any:
    """Return a pipeline that computes with a PyTorch model, where the folder's name would give it the engine."""
    model = getattr(bertie, find(task).model_class).from_pretrained(folder)
    return bertie.pipeline(task, model, device="cpu", **options)
