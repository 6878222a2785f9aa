"""A command's pipeline: made from the options that all commands share."""

from typing import Any

from bertie.extras import loaded
from bertie.tasks.registry import find


def open_pipeline(
    task: str, model: str | None, device: str | None, batch_tokens: int | None, seed: int | None, **options: Any
) -> Any:
    """Return the pipeline of a task; options that are None are left to the task."""
    row = find(task)
    if model is None:
        model = str(row.default_model())
    from bertie.pipelines import pipeline

    if seed is not None and (torch := loaded("torch")):
        torch.manual_seed(seed)
    given = {name: value for name, value in options.items() if value is not None}
    return pipeline(task, model, device=device, batch_tokens=batch_tokens, **given)
