"""Resuming a run: whether a folder holds one that can be continued, and whether it is the same run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from bertie.data.example import Example
from bertie.errors import InputError, spelled
from bertie.finetuning.plan import Job, is_path_or_name
from bertie.run_files import REPORT, STATE
from bertie.tasks.features import Features
from bertie.tasks.task import TrainableTask
from bertie.training.fingerprint import digest, digest_of_tensors
from bertie.training.run_directory import refuse_finished, refuse_other_content

# The prefixes of folders of single seeds and folds.
SEED, FOLD = "seed-", "fold-"


def refuse_other(folder: Path | None, names: set[str]) -> None:
    """Refuse a folder whose ``names`` show anything but an unfinished fine-tuning."""
    hint = f"{spelled('more_epochs')} extends it; or " if STATE in names else ""
    refuse_finished(folder, names, hint)
    refuse_other_content(folder, names, (SEED, FOLD))


def refuse_unfinished(folder: Path | None, resume: bool, names: set[str]) -> None:
    """Refuse a folder whose ``names`` show no finished run that can be extended."""
    if STATE not in names:
        what = "holds no state" if REPORT in names else "holds no run"
        raise InputError(
            f"{str(folder)!r} {what} that {spelled('more_epochs')} could continue; start a new run from its model."
        )
    if REPORT not in names and not resume:
        raise InputError(f"The run in {str(folder)!r} is not finished; finish it first: {spelled('resume', True)}.")


def identity_of(job: Job, task: TrainableTask, model: nn.Module, features: Features) -> dict[str, Any]:
    """Return what identifies this run's data, model and task, before training changes the model."""
    plan = job.plan
    labels = [labels.values for labels in features.labels.values()]
    values = (features.ids, features.types, features.owner_of_rows, *labels)
    contents = [b"" if each is None else each.tobytes() for each in values]
    options = {name: getattr(task, name) for name in task.options()}
    return {
        "task": plan.row.name,
        # not for a model object: when the run is resumed, it may already be trained
        **({"the weights to start from": digest_of_tensors(model.state_dict())} if is_path_or_name(plan.model) else {}),
        "the rows to learn from": digest([*contents, repr(job.data.labels).encode()]),
        "the rows of dev": digest_of_rows(job.parts.dev),
        "metric": plan.metric or task.metric().main,
        "lora": plan.lora,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
    }


def digest_of_rows(*parts: Sequence[Example]) -> str:
    """Return a digest of the texts and labels of splits."""
    return digest(repr((example.text, example.label)).encode() for part in parts for example in part)
