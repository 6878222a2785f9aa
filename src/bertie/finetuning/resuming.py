"""Resuming a run: whether a folder holds one, whether it is the same run, and how a stopped one is resumed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from bertie.data.example import Example
from bertie.errors import InputError, Stopped, spelled
from bertie.files import is_leftover, remove_leftovers
from bertie.finetuning.plan import Job, is_place
from bertie.finetuning.run_report import NAME as REPORT
from bertie.locking import LOCK, only_process_in
from bertie.tasks.features import Features
from bertie.tasks.task import TrainableTask
from bertie.training import is_first
from bertie.training.fingerprint import digest, digest_of_tensors

LOG = "metrics.jsonl"
STATE = "state"
PLAN = "run.json"
TENSORBOARD = "tensorboard"
# The folders of single seeds and folds begin so.
SEED, FOLD = "seed-", "fold-"


@contextmanager
def at_work_in(folder: Path | None, refuse: Callable[[set[str]], None]) -> Iterator[None]:
    """Keep the folder of a run's results for this process while the block runs, and say how a stopped run goes on.

    What a process that was killed has left half-written is removed.
    """
    if folder is None:
        yield
        return
    with only_process_in(folder) if is_first() else nullcontext():
        refuse(_names_in(folder))
        if is_first():
            remove_leftovers(folder)
        try:
            yield
        except KeyboardInterrupt as stopped:
            if str(stopped) or not _names_in(folder):
                raise
            code = getattr(stopped, "exit_code", 130)
            raise Stopped(
                f"The run was stopped; {spelled('resume', True)} goes on from {str(folder)!r}.", code - 128
            ) from stopped


def refuse_other_content(folder: Path | None, names: set[str]) -> None:
    """Refuse a folder with ``names`` that holds something else than a run that is not finished."""
    refuse_finished(folder, names)
    if names and not any(name in (PLAN, STATE) or name.startswith((SEED, FOLD)) for name in names):
        raise InputError(
            f"{str(folder)!r} is not empty and holds no run of bertie; give another folder with {spelled('out')}."
        )


def refuse_finished(folder: Path | None, names: set[str]) -> None:
    """Refuse a folder with ``names`` that holds a finished run."""
    if REPORT in names:
        longer = f"{spelled('more_epochs')} makes it longer; or " if STATE in names else ""
        raise InputError(
            f"{str(folder)!r} holds a finished run; {longer}give another folder with {spelled('out')}, or remove this "
            "one."
        )


def refuse_unfinished(folder: Path | None, resume: bool, names: set[str]) -> None:
    """Refuse a folder with ``names`` that holds no finished run which can be made longer."""
    if STATE not in names:
        what = "keeps no state" if REPORT in names else "holds no run"
        raise InputError(
            f"{str(folder)!r} {what} that {spelled('more_epochs')} could go on from; start a new run from its model."
        )
    if REPORT not in names and not resume:
        raise InputError(f"The run in {str(folder)!r} is not finished; go on with it first: {spelled('resume', True)}.")


def identity_of(job: Job, task: TrainableTask, model: nn.Module, features: Features) -> dict[str, Any]:
    """Return what tells this run's data, model and task from another's, before the model has learned."""
    plan = job.plan
    wanted = [labels.values for labels in features.labels.values()]
    values = (features.ids, features.types, features.owner_of_rows, *wanted)
    learned = [b"" if each is None else each.tobytes() for each in values]
    options = {name: getattr(task, name) for name in task.options()}
    return {
        "task": plan.row.name,
        # a model that was handed over has learned when it is handed over again
        **({"the weights to start from": digest_of_tensors(model.state_dict())} if is_place(plan.model) else {}),
        "the rows to learn from": digest([*learned, repr(job.data.labels).encode()]),
        "the rows to tune on": digest_of_rows(job.parts.tune),
        "metric": plan.metric or task.metric().main,
        "lora": plan.lora,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
    }


def digest_of_rows(*parts: Sequence[Example]) -> str:
    """Return what tells the texts and labels of parts of the data from others."""
    return digest(repr((example.text, example.label)).encode() for part in parts for example in part)


def _names_in(folder: Path) -> set[str]:
    """Return what lies in a folder for results; nothing if there is no such folder yet."""
    if not folder.is_dir():
        return {folder.name} if folder.exists() else set()
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if name != LOCK and not is_leftover(name)}
