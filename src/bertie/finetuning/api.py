"""``bertie.finetune``: from labelled data and a checkpoint to a model, its test metrics, and a folder to share."""

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
    """A fine-tuned model.

    Attributes:
        pipeline: answers with the model, and with the tuned options.
        metrics: on test, which was not used for training or any choice.
        intervals: 95 % intervals of these metrics, over other samples of as many rows.
        scored: all results on test: the metrics of each class, the worst mistakes.
        runs: with several seeds or folds, the metrics of all.
        history: the training history.
        warnings: warnings about data and training.
        folder: the model in hub layout, metrics, plots and a report; None without ``out``.
        seed: the seed of the run; of several, that of the run that was best on dev.
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
    """Fine-tune a model for a task, and score it on data that it has not seen.

    ``bertie.finetune("text-classification", "train.csv", model="all-MiniLM-L6-v2", out="runs/first")``

    The model learns from ``train``; the best epoch, temperature, thresholds and the like are chosen by ``dev``; the
    metrics are those of ``test``. By default, rows of train are split off for dev and test.

    Args:
        task: "text-classification", "token-classification", "question-answering", "multiple-choice", "next-sentence",
            "fill-mask", "embed", "reranking" or "text2text-generation"; common names ("sequence-classification",
            "ner", "qa", "masked-lm", "embedding", "seq2seq", …) work too.
        train: a file (CSV, TSV, JSON lines, Parquet, CoNLL, SQuAD JSON, …), several (a list of files, a folder, a
            pattern such as ``train-*.jsonl``), a ``datasets.Dataset``, a DataFrame, or a list of dicts.
        model: the folder or hub name to start from; for text2text-generation an encoder-decoder, a BERT for both
            halves, or two BERTs ``(encoder, decoder)``. None: all-MiniLM-L6-v2, or bertie-mini-uncased for "fill-mask"
            and "next-sentence".
        dev: the rows that the best epoch and the task's options are chosen by: a source, or the share of train to split
            off; None: a tenth; 0: nothing is chosen and the last epoch is kept.
        test: the rows to score the finished model on, as for ``dev``; None: a tenth; 0: nothing is scored.
        tune: the old name of ``dev``, from when ``dev`` was the old name of ``test``; if it is given, both are
            understood so, with a warning.
        out: the folder of the run; None keeps everything in memory.
        form: the format of the files, if their names do not say it; a `bertie.data.Format` also states delimiter,
            encoding and quoting.
        columns: role → column, where common names do not tell: ``{"text": "Body", "label": "Kind"}``; "title+body"
            joins columns of text, and "" means that no column has the role.
        kind: of a classification: "single-label", "multi-label" or "regression"; None: inferred from the labels.
        label_names: names for lists of 0 and 1, or for class numbers; otherwise all classes in order.
        label_map: a label in the data → its name, ``{"1": "spam"}``; "" leaves such rows out.
        first_choice: in multiple choice, the number (0 or 1) of the first choice in labels; None: inferred.
        on_bad_row: "error", or "skip" to leave out and count rows that cannot be used.
        max_length: the maximum tokens of a text; None: what the model allows.
        windows: True reads longer texts in windows that overlap by ``overlap`` tokens, instead of truncating them.
        options: more options of the task.
        class_weights: the weight of each class's rows: "auto" gives all classes equal weight; class → weight; or
            weights in the order of the model's labels.
        focal: gamma of the focal loss.
        label_smoothing: the share of each label's weight that is spread over all classes (often 0.1); metrics use the
            labels unsmoothed. For classes, tags, next sentences and masked words, not together with ``focal``.
        epochs, learning_rate, batch_size, batch_tokens, patience, seed: as in `bertie.Settings`, which chooses epochs
            by the number of rows; several seeds train as many models, and the best on dev is returned.
        settings: all training settings.
        lora: the rank of low-rank adapters to train instead of all weights (needs peft); they are merged at the end.
        metric: the metric that decides which epoch is best; None: the task's own.
        resume: continue the interrupted run in ``out``, or start it if there is none.
        more_epochs: continue the finished run in ``out``, from its last step, for this many epochs, over which the
            learning rate warms up and falls again (a constant one stays); all other arguments must be those that the
            run was started with.
        folds: cross-validation: train this many models, each scored on its own fold of train and trained on the others;
            ``metrics`` are those of the model that is best on its dev, ``spread`` has the mean and standard deviation.
        keep: keep the models of this many last epochs, in ``out/epoch-1`` and so on.
        report_to: further destinations of the lines of ``metrics.jsonl``: "tensorboard" (``out/tensorboard``, needs
            ``pip install 'bertie[tensorboard]'``), a function of the line as a dict, such as ``wandb.log``, or several.
        callbacks: functions called with a `bertie.training.Event` for each new log line and at the end of each epoch;
            one that returns True ends the training.
        device: None: CUDA if available, else the CPU.
        show_progress: True always shows bars, False never, None only on a terminal.

    Returns:
        The model with its metrics. Of several processes (torchrun), all get it, and the first writes and reports.

    Raises:
        InputError: an argument, a column or a row cannot be used; or a run to be resumed was started with other data,
            settings or seed.
        CheckpointError: the model's files are missing or damaged, or ``out`` cannot be written.
        BertieError: the training diverged, or a required package is not installed.
        KeyboardInterrupt: it was interrupted; with ``out``, ``resume=True`` continues from there.
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
        raise InputError(f"{spelled('folds')} takes one {spelled('seed')}, not {len(seeds)}; give one.")
    if more_epochs is not None and (seeds or folds is not None):
        several = spelled("folds" if folds is not None else "seed")
        raise InputError(f"{spelled('more_epochs')} continues one run, not several; leave {several} out.")
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
            write_folder(outcome, notes=_extension_note(outcome.history))
        return finetuned_of(outcome)


def _extension_note(history: History) -> list[str]:
    """Return a note for the report if the run was extended."""
    if not history.ends:
        return []
    steps = " and ".join(f"{step:,}" for step in history.ends)
    return [f"The training was finished after step {steps}, and then extended by {spelled('more_epochs')}."]


def finetuned_of(outcome: Outcome, runs: Runs | None = None) -> Finetuned:
    """Return the outcome as the public `Finetuned`."""
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
