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
from bertie.evaluation.evaluator import Scored, in_words, score
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

# Faults that the report shows, and rows that a preview does.
WORST, SHOWN = 20, 3


@dataclass
class Learned:
    """A model that was trained and tuned, and not yet scored."""

    job: Job
    task: TrainableTask  # with its tuned options
    model: Any  # plain, in eval mode, with the best weights
    history: History
    tuning: Tuning  # has the task as it was before
    cut: int  # texts to learn from that were cut
    said: list[str]  # sentences on the head, and on texts that were cut


@dataclass
class Outcome(Learned):
    """What a fine-tuning came to."""

    scored: Scored  # on test, as tuned
    untuned: Scored | None  # on test, with the options it was trained with; None where nothing was tuned
    warnings: list[str]
    predictions: list[Any]  # for each row of test, as tuned


@dataclass(frozen=True)
class Preview:
    """What a fine-tuning would learn from."""

    read_as: str  # what was read as what, in one line
    # how many rows there are to learn from (train), choose by (dev) and score on (test); of folds, in the first
    counts: dict[str, int]
    labels: list[str]  # the classes or tags, in order
    rows: list[dict[str, Any]]  # the first to learn from: where each stands, its text, and its label as it is learned
    warnings: list[str]  # what should be known, of the data and of what becomes of the model's head


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
    """Read and check the data of a fine-tuning as `bertie.finetune` would; arguments as there."""
    plan = Plan(task=task, train=train, labels=LabelOptions.of(kind, label_names, label_map, first_choice), **named)
    job = prepare(plan)[0]
    _, _, said = start(job)
    for sentence in said:
        say_once(sentence)
    data, parts = job.data, job.parts
    counts = parts.counts
    rows = [_shown(one) for one in parts.train[:SHOWN]]
    return Preview(data.read_as, counts, data.labels, rows, [*data.warnings, *said])


def prepare(plan: Plan) -> list[Job]:
    """Read, check and split the data, once or for each fold; say what was read as what, and what is odd."""
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
        # a guess is a warning; what the caller named is only information
        logger.log(logging.WARNING if data.is_guess else logging.INFO, "%s", data.read_as)
    given = (dev, plan.settings.seed, rows.schema, plan.named())
    parts = [make_splits(data, plan.test, *given)] if plan.folds is None else make_folds(data, plan.folds, *given)
    rare = [] if plan.folds is None else rare_classes(data.train, plan.folds)
    left_out = [data.bad.summary()] if data.bad.count else []
    shared = []
    if not is_share(plan.dev):  # a share of train has no text of another part
        shared = find_leakage(parts[0].train, parts[0].dev, "train", "dev")
        shared += find_leakage(parts[0].dev, parts[0].test, "dev", "test")
    found = [*data.warnings, *shared, *rare, *rows.warnings(), *left_out]
    data = replace(data, warnings=list(dict.fromkeys(found)))
    _warn(data.warnings)
    return [Job(plan, data, each) for each in parts]


def learn(job: Job) -> Learned:
    """Train and tune on what `prepare` gave; all processes arrive at the same model."""
    task, model, said = start(job)
    plan, parts = job.plan.rated(model.config), job.parts
    metric = plan.metric or task.metric().main
    check_metric(metric, task.metric().names, plan.row.name)
    # a run that may not be resumed so keeps its plan
    if plan.out is not None and is_first() and not States(plan.out / STATE).exist():
        write_json(make_folder(plan.out) / RUN, {**plan.to_dict(), "rows": parts.counts, "read_as": job.data.read_as})
    features = encode_examples(task, parts.train, plan.show_progress)
    said += _on_cut_texts(task, features)
    for sentence in said if is_first() else ():
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
        tuning.forget()
    return Learned(replace(job, plan=plan), tuning.tune(), model, history, tuning, features.num_cut, said)


def scored(learned: Learned) -> Outcome:
    """Score a model on test: once, when all else is settled."""
    tuned, untuned = learned.task, learned.tuning.task
    predictions: list[Any] = []
    found = score(
        {"tuned": tuned, **({"untuned": untuned} if tuned != untuned else {})},
        TaskModel(learned.model),
        learned.job.parts.test,
        replicates=REPLICATES,
        worst=WORST,
        show_progress=learned.job.plan.show_progress if is_first() else False,
        watch=lambda _, part: predictions.extend(part),
    )
    notes = found["tuned"].notes()
    _warn(notes)
    warnings = [*learned.job.data.warnings, *learned.said, *learned.history.warnings, *notes]
    return Outcome(
        **vars(learned),
        scored=found["tuned"],
        untuned=found.get("untuned"),
        warnings=list(dict.fromkeys(warnings)),
        predictions=predictions,
    )


def _on_cut_texts(task: TrainableTask, features: Features) -> list[str]:
    """Return a sentence if texts to learn from are longer than the model reads."""
    if not (cut := features.num_cut):
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
    """Return a readable row: of a choice its label is the right choice's text, of a question its answers."""
    label, text = example.label, example.text
    found: dict[str, Any] = {"where": example.where, "text": in_words(text)}
    if isinstance(label, Mapping):
        found["label"] = [answer["text"] for answer in label["answers"]]
    elif label is not None:
        found["label"] = text["choices"][label] if isinstance(text, Mapping) else label
    return found
