"""One fine-tuning from data to a model with its figures: start, train, tune, score."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bertie.data.dataset import Dataset, ExampleReader, load_dataset
from bertie.data.split import Splits, is_share, make_folds, make_splits, rare_classes
from bertie.errors import counted, plural, spelled
from bertie.evaluation.evaluator import Scored, score
from bertie.files import make_folder, write_json
from bertie.finetuning.model_folder import EpochModels
from bertie.finetuning.model_setup import merge_adapters, start
from bertie.finetuning.plan import Plan
from bertie.finetuning.resuming import LOG, PLAN, STATE, TENSORBOARD, identity_of
from bertie.finetuning.task_learner import TaskLearner, encode_examples
from bertie.finetuning.tuning import Tuning, check_metric
from bertie.metrics.streaming import REPLICATES
from bertie.models.task_model import TaskModel
from bertie.progress import logger, say_once
from bertie.tasks.features import Features
from bertie.tasks.task import TrainableTask
from bertie.training import History, JsonLines, is_first, train
from bertie.training.history import Record
from bertie.training.loop import Log
from bertie.training.state import States
from bertie.training.tensorboard import TensorBoard

# Faults that the report shows.
WORST = 20


@dataclass
class Learned:
    """A model that was trained and tuned, and not yet scored.

    Attributes:
        plan: its arguments.
        data, parts: what it learned from and is to be scored on.
        task: with its tuned options.
        model: plain, in eval mode, with the best weights.
        history: of the training.
        tuning: the results on the rows kept for tuning.
        features: of what was learned from.
        said: sentences on the head, and on texts that were cut.
    """

    plan: Plan
    data: Dataset
    parts: Splits
    task: TrainableTask
    model: Any
    history: History
    tuning: Tuning
    features: Features
    said: list[str]


@dataclass
class Outcome(Learned):
    """What a fine-tuning came to.

    Attributes:
        scored: on dev, as tuned.
        untuned: on dev, with the options it was trained with; None where nothing was tuned.
        warnings: what its user should know.
    """

    scored: Scored
    untuned: Scored | None
    warnings: list[str]


def run(plan: Plan) -> Outcome | None:
    """Carry out a plan; of several processes, all but the first get None."""
    data, (parts,) = prepare(plan)
    learned = learn(plan, data, parts)
    return None if learned is None else scored(learned)


def prepare(plan: Plan) -> tuple[Dataset, list[Splits]]:
    """Read and check the data, and part it, once or for each fold; say what was read as what, and what is odd."""
    data = load_dataset(
        plan.row.learns,
        plan.train,
        None if is_share(plan.dev) else plan.dev,
        form=plan.form,
        columns=plan.columns,
        options=plan.labels,
        scheme=plan.options.get("scheme"),
        on_bad_row=plan.on_bad_row,
    )
    check_metric(plan.metric, plan.figures(data.kind), plan.row.learns)
    if is_first():
        # a guess is a warning; what the caller named is only information
        logger.log(logging.WARNING if data.is_guess else logging.INFO, "%s", data.read_as)
    rows = _rows(plan, data)
    given = (plan.tune, plan.settings.seed, rows, plan.named())
    parts = [make_splits(data, plan.dev, *given)] if plan.folds is None else make_folds(data, plan.folds, *given)
    rare = [] if plan.folds is None else rare_classes(data.train, plan.folds)
    left_out = [data.bad.summary()] if data.bad.count else []
    data = replace(data, warnings=list(dict.fromkeys([*data.warnings, *rare, *rows.warnings(), *left_out])))
    _warn(data.warnings)
    return data, parts


def learn(plan: Plan, data: Dataset, parts: Splits) -> Learned | None:
    """Train and tune on what `prepare` gave; of several processes, all but the first get None."""
    task, model, said = start(plan, data, parts.train)
    plan = plan.rated(model.config)
    metric = plan.metric or task.metric().main
    check_metric(metric, task.metric().names, plan.row.learns)
    # a run that may not be resumed so keeps its plan
    if plan.out is not None and is_first() and not States(plan.out / STATE).exist():
        write_json(make_folder(plan.out) / PLAN, {**plan.to_dict(), "read_as": data.read_as})
    features = encode_examples(task, parts.train, plan.show_progress)
    said += _cut(features)
    for sentence in said if is_first() else ():
        say_once(sentence)
    learner = TaskLearner(task, model, features, [example.where for example in parts.train])
    tuning = Tuning(task, model, parts.tune)
    keeping = [] if plan.out is None or plan.keep is None else [EpochModels(plan.out, plan.keep, plan.row, task)]
    with _logs(plan) as log:
        history = train(
            learner,
            plan.settings,
            evaluate=tuning.figures if parts.tune else None,
            metric=metric,
            check=tuning.warning,
            folder=None if plan.out is None else plan.out / STATE,
            resume=plan.resume,
            more_epochs=plan.more_epochs,
            data=None if plan.out is None else identity_of(plan, task, model, features, data.labels, parts.tune),
            log=log,
            callbacks=(*plan.callbacks, *keeping),
            show_progress=plan.show_progress,
            divisible=task.divisible,
        )
    if not is_first():
        return None
    model = merge_adapters(model).eval()
    tuning.task = task.on_train_end(model)
    return Learned(plan, data, parts, tuning.tune(), model, history, tuning, features, said)


def scored(learned: Learned) -> Outcome:
    """Score a model on dev: once, when all else is settled."""
    tuned, untuned = learned.task, learned.tuning.task
    tasks = {"tuned": tuned, **({"untuned": untuned} if tuned != untuned else {})}
    found = score(
        tasks,
        TaskModel(learned.model),
        learned.parts.dev,
        replicates=REPLICATES,
        worst=WORST,
        show_progress=learned.plan.show_progress,
    )
    notes = found["tuned"].notes()
    _warn(notes)
    warnings = [*learned.data.warnings, *learned.said, *learned.history.warnings, *notes]
    return Outcome(
        **vars(learned), scored=found["tuned"], untuned=found.get("untuned"), warnings=list(dict.fromkeys(warnings))
    )


@contextmanager
def _logs(plan: Plan) -> Iterator[Log | None]:
    """Give what writes each log line to where the plan wants it; None if nothing is written."""
    if plan.out is None:
        yield None
        return
    lines = JsonLines(plan.out / LOG)
    if not (plan.tensorboard and is_first()):
        yield lines
        return
    with closing(TensorBoard(plan.out / TENSORBOARD)) as board:

        def both(record: Record) -> None:
            lines(record)
            board(record)

        yield both


def _rows(plan: Plan, data: Dataset) -> ExampleReader:
    """Return what reads a file for tuning as train was read."""
    return ExampleReader(
        plan.row.learns,
        form=plan.form,
        columns=plan.columns,
        labelling=data.labelling,
        options=plan.labels,
        bad=data.bad,
        name="tune",
    )


def _cut(features: Features) -> list[str]:
    """Return a sentence if texts to learn from are longer than the model reads."""
    cut = sum(count > 0 for count in features.truncated)
    if not cut:
        return []
    return [
        f"{cut:,} of {counted(features.num_inputs, 'text')} to learn from {plural(cut, 'is', 'are')} longer than "
        f"the model reads and lost {counted(sum(features.truncated), 'token')}; "
        f"{spelled('windows', True)} reads them whole."
    ]


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences if is_first() else ():
        logger.warning("%s", sentence)
