"""Saves a fine-tuned model as a folder that pipelines, commands and other tools open."""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

from bertie.files import atomic_folder
from bertie.finetuning.model_setup import merge_adapters
from bertie.tasks.registry import Row
from bertie.tasks.task import TrainableTask
from bertie.training import Event

# The prefix of folders of single epochs.
EPOCH = "epoch-"


def save_model(folder: Path, row: Row, task: TrainableTask, model: Any) -> None:
    """Write a plain model with its tokenizer and its task's options into an existing ``folder``."""
    row.save_options(model.config, task.inference_task())
    model.save_pretrained(folder)
    task.tokenizer.save_pretrained(folder)
    task.save(folder)


class EpochModels:
    """A callback that keeps the models of the last ``count`` epochs in ``folder``, each in its own folder.

    They are untuned: temperature, thresholds and the like are only tuned for the finished model.
    """

    def __init__(self, folder: Path, count: int, row: Row, task: TrainableTask) -> None:
        self._folder, self._count, self._row, self._task = folder, count, row, task

    def __call__(self, event: Event) -> None:
        """Save a model at the end of its epoch."""
        if event.kind != "epoch":
            return
        epoch = event.record["epoch"]
        # a copy, because the end of training modifies the model: adapters are merged, a head is rescaled
        model = merge_adapters(deepcopy(event.model)).eval()
        final = self._folder / f"{EPOCH}{epoch}"
        shutil.rmtree(final, ignore_errors=True)  # a resumed run may repeat an epoch
        with atomic_folder(final) as new:
            save_model(new, self._row, self._task.on_train_end(model), model)
        for path in self._folder.glob(f"{EPOCH}*"):
            number = path.name.removeprefix(EPOCH)
            if number.isdigit() and int(number) <= epoch - self._count:
                shutil.rmtree(path, ignore_errors=True)
