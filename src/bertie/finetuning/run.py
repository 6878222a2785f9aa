"""One fine-tuning from data to a model with its figures: start, train, tune, score."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from bertie.files import make_folder, write_json
from bertie.finetuning.examples import Data, Rows, load
from bertie.finetuning.learner import TaskLearner, encoded
from bertie.finetuning.parts import Parts, is_share, parted
from bertie.finetuning.plan import Plan
from bertie.finetuning.resuming import LOG, PLAN, STATE, TENSORBOARD, identity_of
from bertie.finetuning.saving import EpochModels
from bertie.finetuning.scoring import Scored, Scorer, score
from bertie.finetuning.starting import merged, start
from bertie.report import logger
from bertie.tasks.computing import compute
from bertie.tasks.example import Example
from bertie.tasks.features import Features, Values
from bertie.tasks.metrics.scores import REPLICATES
from bertie.tasks.trainable import TrainableTask
from bertie.training import Callback, History, JsonLines, is_first, train
from bertie.training.history import Record
from bertie.training.loop import Log
from bertie.training.state import States
from bertie.training.tensorboard import TensorBoard

Watch = Callable[[float, float | None], None]
# Faults that the report shows.
WORST = 20


@dataclass
class Learned:
    """A model that was trained and tuned, and not yet scored.

    Attributes:
        plan: what it was told.
        data, parts: what it learned from and is to be scored on.
        task: with its tuned options.
        model: plain, in eval mode, with the best weights.
        history: of the training.
        tuning: what the rows kept for tuning said.
        features: of what was learned from.
    """

    plan: Plan
    data: Data
    parts: Parts
    task: TrainableTask
    model: Any
    history: History
    tuning: "Tuning"
    features: Features


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
    """Carry out a plan; of several processes, all but the first get None.

    Raises:
        As `bertie.finetune`.
    """
    learned = learn(plan, *prepare(plan))
    return None if learned is None else scored(learned)


def prepare(plan: Plan) -> tuple[Data, Parts]:
    """Read and check the data, and part it."""
    data = load(
        plan.row.learns,
        plan.train,
        None if is_share(plan.dev) else plan.dev,
        form=plan.form,
        columns=plan.columns,
        options=plan.labels,
        on_bad_row=plan.on_bad_row,
    )
    if is_first():
        # what was guessed is said to everyone, and what a program has said of its own rows to no one
        logger.log(logging.WARNING if data.is_guess else logging.INFO, "%s", data.read_as)
    return data, parted(data, plan.dev, plan.tune, plan.settings.seed, _rows(plan, data), plan.named())


def learn(plan: Plan, data: Data, parts: Parts, watch: Watch | None = None) -> Learned | None:
    """Train and tune; of several processes, all but the first get None.

    Args:
        plan: without a folder, if ``watch`` is given.
        data, parts: as `prepare` gives them.
        watch: is told the epoch and the deciding figure of every evaluation, and may end the training by raising.
    """
    task, model = start(plan, data, parts.train)
    plan = plan.rated(model.config)
    metric = plan.metric or task.metric().main
    # a run that may not be resumed so keeps its plan
    if plan.out is not None and is_first() and not States(plan.out / STATE).exist():
        write_json(make_folder(plan.out) / PLAN, plan.to_dict())
    features = encoded(task, parts.train, plan.show_progress)
    learner = TaskLearner(task, model, features, [example.where for example in parts.train])
    tuning = Tuning(task, model, parts.tune)
    with _logs(plan, metric, watch) as log:
        history = train(
            learner,
            plan.settings,
            evaluate=tuning.figures if parts.tune else None,
            metric=metric,
            check=tuning.warning,
            folder=None if plan.out is None else plan.out / STATE,
            resume=plan.resume,
            data=None if plan.out is None else identity_of(plan, task, model, features, data.labels, parts.tune),
            log=log,
            callbacks=(*plan.callbacks, *_keeping(plan, task)),
            show_progress=plan.show_progress,
            divisible=task.divisible,
        )
    if not is_first():
        return None
    model = merged(model).eval()
    tuning.task = task.ended(model)
    return Learned(plan, data, parts, tuning.tuned(), model, history, tuning, features)


def scored(learned: Learned) -> Outcome:
    """Score a model on dev: once, when all else is settled."""
    tuned, untuned = learned.task, learned.tuning.task
    tasks = {"tuned": tuned, **({"untuned": untuned} if tuned != untuned else {})}
    found = score(
        tasks,
        learned.model,
        learned.parts.dev,
        replicates=REPLICATES,
        worst=WORST,
        show_progress=learned.plan.show_progress,
    )
    return Outcome(
        **vars(learned),
        scored=found["tuned"],
        untuned=found.get("untuned"),
        warnings=_warnings(learned.data, learned.history, learned.features, found["tuned"]),
    )


class Tuning:
    """The examples that the best epoch and the task's options are chosen by.

    Args:
        task: with the options it is trained with; once `ended`, as it answers.
        model: as it learns.
        examples: none of those it learns from, nor of those it is scored on.
    """

    def __init__(self, task: TrainableTask, model: Any, examples: list[Example]) -> None:
        self.task, self.model, self.examples = task, model, examples
        self.features = task.encode([example.text for example in examples])
        self._last: Scored | None = None
        self.values: Values = []

    def figures(self) -> Mapping[str, float]:
        """Return the model's figures."""
        scorer = Scorer(self.task)
        scorer.add(compute(self.task, self.model, self.features), self.features, self.examples)
        self._last = scorer.done()
        return {name: float("nan") if value is None else value for name, value in self._last.scores.figures().items()}

    def warning(self, _: Mapping[str, float]) -> str | None:
        """Return a sentence if the last answers were all the same."""
        return None if self._last is None else self._last.warning()

    def tuned(self) -> TrainableTask:
        """Return the task with the options that suit these examples, once the model is trained."""
        if not self.examples:
            return self.task
        self.values = compute(self.task, self.model, self.features)
        return self.task.tuned(self.values, self.features, self.labels)

    @property
    def labels(self) -> list[Any]:
        """The examples' labels."""
        return [example.label for example in self.examples]


@contextmanager
def _logs(plan: Plan, metric: str, watch: Watch | None) -> Iterator[Log]:
    """Give what writes each log line to where the plan wants it."""

    def watching(record: Record) -> None:
        if watch is not None and "figures" in record:
            watch(record["epoch"], record["figures"][metric])

    with ExitStack() as opened:
        logs: list[Log] = [watching] if plan.out is None else [JsonLines(plan.out / LOG)]
        if plan.out is not None and plan.tensorboard and is_first():
            logs.append(opened.enter_context(closing(TensorBoard(plan.out / TENSORBOARD))))

        def log(record: Record) -> None:
            for each in logs:
                each(record)

        yield log


def _keeping(plan: Plan, task: TrainableTask) -> list[Callback]:
    if plan.out is None or plan.keep is None:
        return []
    return [EpochModels(plan.out, plan.keep, plan.row, task)]


def _rows(plan: Plan, data: Data) -> Rows:
    """Return what reads a file for tuning as train was read."""
    return Rows(
        plan.row.learns,
        form=plan.form,
        columns=plan.columns,
        labelling=data.labelling,
        options=plan.labels,
        bad=data.bad,
        name="tune",
    )


def _warnings(data: Data, history: History, features: Features, scored: Scored) -> list[str]:
    """Return what the report warns of."""
    found = [*data.warnings, *history.warnings]
    cut = sum(count > 0 for count in features.truncated)
    if cut:
        found.append(
            f"{cut:,} of {features.num_inputs:,} texts to learn from are longer than the model reads and lost "
            f"{sum(features.truncated):,} tokens; windows=True reads them whole."
        )
    if data.bad.count:
        found.append(data.bad.summary())
    if warning := scored.warning():
        found.append(warning)
    for sentence in dict.fromkeys(found):
        logger.warning("%s", sentence)
    return list(dict.fromkeys(found))
