"""``bertie.finetune``: labelled data and a checkpoint become a model, its true quality, and a folder to forward."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bertie.data import Format
from bertie.data.labelling import LabelOptions
from bertie.errors import InputError, spelled
from bertie.evaluation.evaluator import Scored
from bertie.finetuning.plan import Plan, StartModel, settings_from
from bertie.finetuning.resuming import refuse_other, refuse_unfinished
from bertie.finetuning.run import Outcome, learn, prepare, scored
from bertie.finetuning.run_folder import write_folder
from bertie.finetuning.run_report import Runs
from bertie.finetuning.seeds_and_folds import run_folds, run_seeds
from bertie.markdown import as_html, metrics_line, metrics_table, picture, plain
from bertie.pipelines import Pipeline
from bertie.pipelines.factory import pipeline_class
from bertie.training import Callback, History, Log, Settings
from bertie.training.run_directory import exclusive_run


@dataclass(repr=False)
class Finetuned:
    """A model that was fine-tuned.

    Attributes:
        pipeline: answers with the model, and with all that was tuned.
        metrics: on test, which nothing was learned from or chosen by.
        intervals: of these metrics: 95 % of other samples of as many rows would give one within.
        scored: all that test gave: the metrics of each class, the worst mistakes.
        runs: with several seeds or folds, the metrics of all.
        history: of the training.
        warnings: what should be known.
        folder: the model in hub layout, metrics, plots and a report; None if none was asked for.
        seed: of the run; of several seeds, of the one that was best on dev.
    """

    pipeline: Pipeline
    metrics: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    scored: Scored
    runs: Runs | None
    history: History
    warnings: list[str]
    folder: Path | None
    seed: int

    def __repr__(self) -> str:
        return f"<Finetuned {self.pipeline.task}: {metrics_line(self.metrics)}>"

    def _repr_html_(self) -> str:
        where = "kept in memory" if self.folder is None else f"in {plain(self.folder)}"
        lines = [f"{plain(self.pipeline.task)}, {where}", "", *metrics_table(self.metrics, self.intervals), ""]
        drawn = [] if self.folder is None else sorted(self.folder.glob("*.png"))
        shown = [line for path in drawn for line in (picture(path, path.stem), "")]
        return as_html("\n".join([*lines, *shown, *(f"- {plain(warning)}" for warning in self.warnings)]))

    @property
    def spread(self) -> dict[str, tuple[float, float]]:
        """With several seeds or folds, each metric's mean and standard deviation over them."""
        return {} if self.runs is None else self.runs.spread()

    @property
    def model(self) -> nn.Module:
        """The model, in eval mode."""
        return self.pipeline.model

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.pipeline.tokenizer


def finetune(
    task: str,
    train: Any,
    *,
    model: StartModel | None = None,
    dev: Any = None,
    test: Any = None,
    tune: Any = None,
    out: str | os.PathLike[str] | None = None,
    form: str | Format | None = None,
    columns: Mapping[str, str | int] | None = None,
    kind: str | None = None,
    label_names: Sequence[str] | None = None,
    label_map: Mapping[Any, str] | None = None,
    first_choice: int | None = None,
    on_bad_row: str = "error",
    max_length: int | None = None,
    windows: bool | None = None,
    overlap: int | None = None,
    options: Mapping[str, Any] | None = None,
    class_weights: str | Sequence[float] | Mapping[str, float] | None = None,
    focal: float | None = None,
    label_smoothing: float | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    patience: int | None = None,
    seed: int | Sequence[int] | None = None,
    settings: Settings | None = None,
    lora: int | None = None,
    metric: str | None = None,
    resume: bool = False,
    more_epochs: int | None = None,
    folds: int | None = None,
    keep: int | None = None,
    report_to: str | Log | Sequence[str | Log] = (),
    callbacks: Sequence[Callback] = (),
    device: str | int | torch.device | None = None,
    show_progress: bool | None = None,
) -> Finetuned:
    """Fine-tune a model for a task, and say how good it is on data that it has not seen.

    ``bertie.finetune("text-classification", "train.csv", model="all-MiniLM-L6-v2", out="runs/first")``

    The model learns from ``train``; ``dev`` chooses (best epoch, temperature, thresholds and the like); the metrics are
    those of ``test``. Where no source is named for dev or test, rows of train are kept for it.

    Args:
        task: "text-classification", "token-classification", "question-answering", "multiple-choice", "next-sentence",
            "fill-mask", "embed", "reranking" or "text2text-generation"; other usual names ("sequence-classification",
            "ner", "qa", "masked-lm", "embedding", "seq2seq", …) do.
        train: a file (CSV, TSV, JSON lines, Parquet, CoNLL, SQuAD JSON, …), several (a list of files, a folder, a
            pattern such as ``train-*.jsonl``), a ``datasets.Dataset``, a DataFrame, or a list of dicts.
        model: a folder or a name in the hub, to start from; of text2text-generation an encoder-decoder's, a BERT's that
            becomes encoder and decoder, or those of two BERTs, ``(encoder, decoder)``. None: all-MiniLM-L6-v2, and
            for "fill-mask" and "next-sentence" bertie-mini-uncased.
        dev: what the best epoch and the task's options are chosen by: a source, or the share of train to keep for it,
            which is then not learned from; None: a tenth; 0: nothing is chosen and the last epoch is kept.
        test: what to score the finished model on, as for ``dev``; None: a tenth; 0: nothing is scored.
        tune: what ``dev`` was called when ``dev`` was what ``test`` is; with it both are read so, with a warning.
        out: the folder of the run; None keeps everything in memory.
        form: of the files, where their names do not say it; a `bertie.data.Format` also says delimiter, encoding and
            quoting.
        columns: what each column is, where usual names do not tell: ``{"text": "Body", "label": "Kind"}``; columns of
            texts are joined by "title+body", "" says that no column has a role.
        kind: of a classification: "single-label", "multi-label" or "regression"; None: as the labels look.
        label_names: of the labels that lists of 0 and 1 are about, or of class numbers; else all classes in their
            order.
        label_map: a label as it is written → what it is called here, ``{"1": "spam"}``; "" leaves such rows out.
        first_choice: of a multiple choice: 0 or 1, the number that labels give the first choice; None: as they look.
        on_bad_row: "error", or "skip" to leave out rows that cannot be used and count them.
        max_length: tokens read of a text; None: what the model allows.
        windows: True reads longer texts in windows that overlap by ``overlap`` tokens, instead of cutting them.
        options: more options of the task.
        class_weights: what rows of each class count: "auto" lets all classes weigh alike; class → weight; or weights
            in the order of the model's labels.
        focal: gamma of the focal loss.
        label_smoothing: the share of each label that is learned as any class alike (0.1 is usual); metrics take labels
            as they are. For classes, tags, next sentences and masked words, not together with ``focal``.
        epochs, learning_rate, batch_size, batch_tokens, patience, seed: as in `bertie.Settings`, which chooses epochs
            by the number of rows; several seeds train as many models, and the best on dev is given.
        settings: all settings of the training.
        lora: the rank of low-rank adapters to train instead of all weights (needs peft); they are merged at the end.
        metric: the metric that decides which epoch is best; None: the task's own.
        resume: go on with the run in ``out`` where it was interrupted; if there is none, begin it.
        more_epochs: go on with the finished run in ``out``, from its last step, for so many epochs, whose learning rate
            rises and falls anew (a constant one stays); all other arguments are those that the run was started with.
        folds: train so many models, each scored on its own part of train and learning from the others; ``metrics`` are
            then those of the model that is best on its dev, ``spread`` their mean and deviation.
        keep: keep the models of the last so many epochs, in ``out/epoch-1`` and so on.
        report_to: where each line of ``metrics.jsonl`` goes, too: "tensorboard" (``out/tensorboard``, needs
            ``pip install 'bertie[tensorboard]'``), a function of the line as a dict, such as ``wandb.log``, or several.
        callbacks: functions that are called with a `bertie.training.Event` for each new log line and at the end of each
            epoch; one that returns True ends the training.
        device: None: CUDA if there is any, else the CPU.
        show_progress: True shows bars always, False never, None on a terminal only.

    Returns:
        The model with its metrics. Of several processes (torchrun) all have it, and the first one writes and reports.

    Raises:
        InputError: an argument, a column or a row that cannot be used; data, settings or seed of a run that is resumed
            are others.
        CheckpointError: the model's files are missing or damaged, or ``out`` cannot be written.
        BertieError: the training diverged, or a package that is needed is not installed.
        KeyboardInterrupt: it was interrupted; with ``out``, ``resume=True`` goes on from there.
    """
    reading = {
        "max_length": max_length,
        "windows": windows,
        "overlap": overlap,
        "focal": focal,
        "label_smoothing": label_smoothing,
    }
    seeds = list(seed) if isinstance(seed, Sequence) else []
    if isinstance(seed, Sequence) and len(set(seeds)) < 2:
        raise InputError(f"seed is {seed!r}; give a number, or a list of several.")
    if seeds and folds is not None:
        raise InputError(f"{spelled('folds')} takes one {spelled('seed')}, and here are {len(seeds)}; give one.")
    if more_epochs is not None and (seeds or folds is not None):
        several = spelled("folds" if folds is not None else "seed")
        raise InputError(f"{spelled('more_epochs')} goes on with one run, not with several; leave {several} out.")
    named = {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens,
        "patience": patience,
        "seed": seeds[0] if seeds else seed,
    }
    plan = Plan(
        task=task,
        train=train,
        model=model,
        dev=dev,
        test=test,
        tune=tune,
        out=None if out is None else Path(out),
        form=form,
        columns=columns,
        labels=LabelOptions.of(kind, label_names, label_map, first_choice),
        on_bad_row=on_bad_row,
        options={**{name: value for name, value in reading.items() if value is not None}, **(options or {})},
        class_weights=class_weights,
        lora=lora,
        metric=metric,
        settings=settings_from(settings, named),
        resume=resume,
        more_epochs=more_epochs,
        folds=folds,
        keep=keep,
        report_to=[report_to] if isinstance(report_to, str) or callable(report_to) else report_to,
        callbacks=callbacks,
        device=device,
        show_progress=show_progress,
    )
    refuse = partial(refuse_other, plan.out)
    if plan.more_epochs is not None:
        refuse = partial(refuse_unfinished, plan.out, resume)
    with exclusive_run(plan.out, refuse):
        if seeds or plan.folds is not None:
            return finetuned_of(*(run_folds(plan) if plan.folds is not None else run_seeds(plan, seeds)))
        [job] = prepare(plan)
        outcome = scored(learn(job))
        if plan.out is not None:
            write_folder(outcome, notes=_lengthened(outcome.history))
        return finetuned_of(outcome)


def _lengthened(history: History) -> list[str]:
    """Return a sentence for the report if the run was made longer."""
    if not history.ends:
        return []
    steps = " and ".join(f"{step:,}" for step in history.ends)
    return [f"The training was finished after step {steps}, and then made longer by {spelled('more_epochs')}."]


def finetuned_of(outcome: Outcome, runs: Runs | None = None) -> Finetuned:
    """Return what a fine-tuning gives its caller."""
    row = outcome.job.plan.row
    return Finetuned(
        pipeline=pipeline_class(row)(outcome.task.inference_task(), outcome.model),
        metrics=outcome.scored.metrics,
        intervals=outcome.scored.intervals,
        scored=outcome.scored,
        runs=runs,
        history=outcome.history,
        warnings=outcome.warnings,
        folder=outcome.job.plan.out,
        seed=outcome.job.plan.settings.seed,
    )
