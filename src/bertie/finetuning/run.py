"""One fine-tuning from data to a model with its metrics: start, train, tune, score."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bertie.data.dataset import find_leakage, load_dataset
from bertie.data.example import Example
from bertie.data.labelling import LabelOptions
from bertie.data.split import is_share, make_folds, make_splits, rare_classes
from bertie.errors import counted, plural, spelled
from bertie.evaluation.evaluator import Scored, as_text, score
from bertie.files import make_folder, write_json
from bertie.finetuning.model_folder import EpochModels
from bertie.finetuning.model_setup import merge_adapters, start
from bertie.finetuning.plan import Job, Plan
from bertie.finetuning.resuming import identity_of
from bertie.finetuning.task_learner import TaskLearner, encode_examples
from bertie.finetuning.tuning import Tuning, check_metric
from bertie.metrics.streaming import REPLICATES
from bertie.models.task_model import TaskModel
from bertie.progress import logger, say_once
from bertie.run_files import RUN, STATE
from bertie.tasks.features import Features
from bertie.tasks.task import TrainableTask
from bertie.tokenization.tokenizer import COUNT_LIMIT
from bertie.training import History, is_first, train
from bertie.training.logs import logs
from bertie.training.state import States

# The number of mistakes in the report, and of rows in a preview.
WORST, SHOWN = 20, 3


@dataclass
class Learned:
    """A model that is trained and tuned, but not yet scored."""

    job: Job
    task: TrainableTask  # with its tuned options
    model: Any  # plain, in eval mode, with the best weights
    history: History
    tuning: Tuning  # has the untuned task
    cut: int  # truncated training texts
    messages: list[str]  # on the head, and on truncated texts


@dataclass
class Outcome(Learned):
    """The result of a fine-tuning."""

    scored: Scored  # on test, tuned
    untuned: Scored | None  # on test, with the options of the training; None if nothing was tuned
    warnings: list[str]
    predictions: list[Any]  # for each row of test, tuned


@dataclass(frozen=True)
class Preview:
    """What a fine-tuning would learn from."""

    read_as: str  # how the columns were read, in one line
    counts: dict[str, int]  # rows of train, dev and test; with folds, in the first
    labels: list[str]  # the classes or tags, in order
    rows: list[dict[str, Any]]  # the first of train: location, text, and label as it is learned
    warnings: list[str]  # about the data, and what happens to the model's head


def preview(
    task: str,
    train: Any,
    *,
    kind: str | None = None,
    label_names: Sequence[str] | None = None,
    label_map: Mapping[Any, str] | None = None,
    first_choice: int | None = None,
    **named: Any,
) -> Preview:
    """Read and check the data as `bertie.finetune` would; the arguments are the same."""
    plan = Plan(task=task, train=train, labels=LabelOptions.of(kind, label_names, label_map, first_choice), **named)
    job = prepare(plan)[0]
    _, _, messages = start(job)
    for sentence in messages:
        say_once(sentence)
    data, parts = job.data, job.parts
    counts = parts.counts
    rows = [_shown(one) for one in parts.train[:SHOWN]]
    return Preview(data.read_as, counts, data.labels, rows, [*data.warnings, *messages])


def prepare(plan: Plan) -> list[Job]:
    """Read, check and split the data, once or for each fold; log how it was read, and anything suspicious."""
    data = load_dataset(
        plan.row.name,
        plan.train,
        None if is_share(plan.test) else plan.test,
        form=plan.form,
        columns=plan.columns,
        options=plan.labels,
        scheme=plan.options.get("scheme"),
        on_bad_row=plan.on_bad_row,
        keeps_fields=plan.out is not None,
    )
    check_metric(plan.metric, plan.metrics(data.kind), plan.row.name)
    rows = data.reader_of("dev")
    dev = plan.dev if is_share(plan.dev) else list(rows.read(plan.dev))
    if is_first():
        # a guess is logged as a warning, explicit columns as information
        logger.log(logging.WARNING if data.is_guess else logging.INFO, "%s", data.read_as)
    given = (dev, plan.settings.seed, rows.schema, plan.named())
    parts = [make_splits(data, plan.test, *given)] if plan.folds is None else make_folds(data, plan.folds, *given)
    rare = [] if plan.folds is None else rare_classes(data.train, plan.folds)
    left_out = [data.bad.summary()] if data.bad.count else []
    shared = []
    if not is_share(plan.dev):  # splitting train never leaks
        shared = find_leakage(parts[0].train, parts[0].dev, "train", "dev")
        shared += find_leakage(parts[0].dev, parts[0].test, "dev", "test")
    found = [*data.warnings, *shared, *rare, *rows.warnings(), *left_out]
    data = replace(data, warnings=list(dict.fromkeys(found)))
    _warn(data.warnings)
    return [Job(plan, data, each) for each in parts]


def learn(job: Job) -> Learned:
    """Train and tune on a job of `prepare`; all processes get the same model."""
    task, model, messages = start(job)
    plan, parts = job.plan.with_learning_rate(model.config), job.parts
    metric = plan.metric or task.metric().main
    check_metric(metric, task.metric().names, plan.row.name)
    # an existing run, which may refuse to be resumed, keeps its plan
    if plan.out is not None and is_first() and not States(plan.out / STATE).exist():
        write_json(make_folder(plan.out) / RUN, {**plan.to_dict(), "rows": parts.counts, "read_as": job.data.read_as})
    features = encode_examples(task, parts.train, plan.show_progress)
    messages += _on_cut_texts(task, features)
    for sentence in messages if is_first() else ():
        say_once(sentence)
    learner = TaskLearner(task, model, features, [example.where for example in parts.train])
    tuning = Tuning(task, model, parts.dev)
    keeping = [] if plan.out is None or plan.keep is None else [EpochModels(plan.out, plan.keep, plan.row, task)]
    with logs(plan.out, plan.report_to) as log:
        history = train(
            learner,
            plan.settings,
            evaluate=tuning.metrics if parts.dev else None,
            metric=metric,
            check=tuning.warning,
            folder=None if plan.out is None else plan.out / STATE,
            resume=plan.resume,
            more_epochs=plan.more_epochs,
            data=None if plan.out is None else identity_of(job, task, model, features),
            log=log,
            callbacks=(*plan.callbacks, *keeping),
            show_progress=plan.show_progress,
            divisible=task.divisible,
        )
    model = merge_adapters(model).eval()
    tuning.task = task.on_train_end(model)
    is_last_best = not plan.settings.keep_best or history.best_step == history.step
    if tuning.task is not task or plan.lora is not None or history.evaluated != history.step or not is_last_best:
        tuning.invalidate()
    return Learned(replace(job, plan=plan), tuning.tune(), model, history, tuning, features.num_truncated, messages)


def scored(learned: Learned) -> Outcome:
    """Score a model on test, once, when everything else is decided."""
    tuned, untuned = learned.task, learned.tuning.task
    predictions: list[Any] = []
    found = score(
        {"tuned": tuned, **({"untuned": untuned} if tuned != untuned else {})},
        TaskModel(learned.model),
        learned.job.parts.test,
        replicates=REPLICATES,
        worst=WORST,
        show_progress=learned.job.plan.show_progress if is_first() else False,
        on_predictions=lambda _, part: predictions.extend(part),
    )
    notes = found["tuned"].notes()
    _warn(notes)
    warnings = [*learned.job.data.warnings, *learned.messages, *learned.history.warnings, *notes]
    return Outcome(
        **vars(learned),
        scored=found["tuned"],
        untuned=found.get("untuned"),
        warnings=list(dict.fromkeys(warnings)),
        predictions=predictions,
    )


def _on_cut_texts(task: TrainableTask, features: Features) -> list[str]:
    """Return a message if training texts are longer than the model reads."""
    if not (cut := features.num_truncated):
        return []
    advice = f"; {spelled('windows', True)} reads them whole" if "windows" in task.options() else ""
    at_least = "at least " if max(features.truncated) >= COUNT_LIMIT else ""
    return [
        f"{cut:,} of {counted(features.num_inputs, 'text')} to learn from {plural(cut, 'is', 'are')} longer than "
        f"the model reads and lost {at_least}{counted(sum(features.truncated), 'token')}{advice}."
    ]


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences if is_first() else ():
        logger.warning("%s", sentence)


def _shown(example: Example) -> dict[str, Any]:
    """Return a readable row, with the text of the right choice or of the answers as its label."""
    label, text = example.label, example.text
    found: dict[str, Any] = {"where": example.where, "text": as_text(text)}
    if isinstance(label, Mapping):
        found["label"] = [answer["text"] for answer in label["answers"]]
    elif label is not None:
        found["label"] = text["choices"][label] if isinstance(text, Mapping) else label
    return found
