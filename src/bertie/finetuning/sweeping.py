"""``bertie.sweep``: fine-tuning with many settings; the best model is kept, and scored once on test."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bertie.data import Format
from bertie.data.labelling import LabelOptions
from bertie.errors import InputError, spelled
from bertie.extras import need
from bertie.finetuning.api import Finetuned, finetuned_of
from bertie.finetuning.plan import Plan, StartModel
from bertie.finetuning.run import prepare
from bertie.finetuning.searching import STUDY, WHAT, Search, Space, Trial
from bertie.training import Settings, world_size
from bertie.training.run_directory import exclusive_run, refuse_finished


@dataclass
class Sweep:
    """The result of a sweep.

    Attributes:
        best: the model of the best trial, with its metrics on test.
        values: the settings of that trial.
        trials: all of them.
        folder: the model in hub layout, metrics, plots and a report; None without ``out``.
    """

    best: Finetuned
    values: dict[str, Any]
    trials: list[Trial]
    folder: Path | None


def sweep(
    task: str,
    train: Any,
    *,
    model: StartModel | None = None,
    trials: int,
    space: Space | None = None,
    out: str | os.PathLike[str] | None = None,
    dev: Any = None,
    test: Any = None,
    tune: Any = None,
    form: str | Format | None = None,
    columns: Mapping[str, str | int] | None = None,
    kind: str | None = None,
    label_names: Sequence[str] | None = None,
    label_map: Mapping[Any, str] | None = None,
    first_choice: int | None = None,
    on_bad_row: str = "error",
    options: Mapping[str, Any] | None = None,
    class_weights: str | Sequence[float] | Mapping[str, float] | None = None,
    settings: Settings | None = None,
    lora: int | None = None,
    metric: str | None = None,
    prune: bool = True,
    seed: int = 0,
    resume: bool = False,
    device: str | int | torch.device | None = None,
    show_progress: bool | None = None,
) -> Sweep:
    """Fine-tune with many settings and keep the best model; needs optuna (``pip install 'bertie[sweep]'``).

    ``bertie.sweep("text-classification", "train.csv", model="all-MiniLM-L6-v2", trials=20, out="runs/sweep")``

    Trials are compared on dev; test is not used for the choice, and only the best model is scored on it, once. The
    first trial has the default settings, so that a sweep never ends below them. The best score on dev, being the best
    of many, is optimistic; the metrics on test are not.

    Args:
        task, train, model: as for `bertie.finetune`.
        trials: how many to run, including those that are pruned or fail.
        space: setting → a list of choices, a range ``(low, high)``, or ``(low, high, "log")``; a range of two ints is
            one of integers. Any setting of `bertie.Settings`, ``lora``, ``class_weights``, or option of the task. None:
            learning rate, epochs, batch size, warm-up and layer-wise decay, in ranges from the literature.
        out: the folder of the sweep: that of the best run, with ``trials.jsonl`` and ``sweep.png``; None keeps
            everything in memory.
        dev, test, tune: as for `bertie.finetune`; ``dev`` must keep some rows.
        form, columns, kind, label_names, label_map, first_choice: as for `bertie.finetune`.
        on_bad_row, metric, device, show_progress: as for `bertie.finetune`.
        options, class_weights, settings, lora: as for `bertie.finetune`; the same in all trials unless in ``space``.
        prune: stop a trial that, from its second epoch on, is below the median of the other trials at that epoch.
        seed: of the splits, of each training and of the proposals.
        resume: continue the sweep in ``out``, or start it if there is none. If the best model is from an earlier
            session, it is trained again.

    Raises:
        InputError: a value is not allowed, or a sweep to be resumed was started differently.
        InputTypeError: a value of ``space`` has the wrong type.
        BertieError: optuna is not installed, or no trial gave a score; and whatever `bertie.finetune` raises.
    """
    optuna = need("optuna", extra="sweep", what=WHAT)
    folder = None if out is None else Path(out)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"trials is {trials!r}; it is the number of fine-tunings to run, at least 1.")
    if world_size() > 1:
        raise InputError("A sweep runs in one process; start it without torchrun.")
    if resume and folder is None:
        raise InputError(f"{spelled('resume')} needs {spelled('out')}, the folder of the sweep to continue.")
    plan = Plan(
        task=task,
        train=train,
        model=model,
        dev=dev,
        test=test,
        tune=tune,
        form=form,
        columns=columns,
        labels=LabelOptions.of(kind, label_names, label_map, first_choice),
        on_bad_row=on_bad_row,
        options=dict(options or {}),
        class_weights=class_weights,
        lora=lora,
        metric=metric,
        settings=replace(settings or Settings(), seed=seed),
        device=device,
        show_progress=show_progress,
    )
    with exclusive_run(folder, lambda names: _refuse_other_content(folder, resume, names)), _quiet(optuna):
        [job] = prepare(replace(plan, out=folder))
        if not job.parts.dev:
            raise InputError(f"A sweep compares its trials on dev; leave some rows for {spelled('dev')}.")
        search = Search(optuna, replace(job, plan=plan), space, folder, prune)
        search.run(trials)
        best = search.best()
        outcome = search.outcome(best)
    return Sweep(finetuned_of(outcome), best.values, search.table(), folder)


def _refuse_other_content(folder: Path | None, resume: bool, names: set[str]) -> None:
    """Refuse a folder whose ``names`` show anything but a sweep to be resumed."""
    refuse_finished(folder, names)
    if names and STUDY not in names:
        raise InputError(f"{str(folder)!r} is not empty and holds no sweep; give another folder with {spelled('out')}.")
    if STUDY in names and not resume:
        raise InputError(
            f"{str(folder)!r} holds a sweep; {spelled('resume', True)} continues it, or give another folder with "
            f"{spelled('out')}."
        )


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Have optuna log only errors: a progress bar and a table report the trials."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
