"""Computes what waits in the queues of all models, in steps of packed rows on a few threads."""

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from bertie.batching import budget, cores_to_divide
from bertie.engine import Engine
from bertie.errors import BertieError
from bertie.progress import logger
from bertie.serving.step_queue import Share, StepQueue, Work
from bertie.tasks.features import Features
from bertie.tasks.inference import compute_batch
from bertie.tasks.model import Model
from bertie.tasks.task import Task
from bertie.tasks.text_generation import Generation


class Step(NamedTuple):
    """What a step was: the texts and tokens it computed, the seconds it took, and the padding it did without."""

    rows: int
    tokens: int
    seconds: float
    padding: int


class ModelQueue(StepQueue):
    """The queue of a model, how many tokens of it are computed at a time, and when it last computed some."""

    def __init__(self, model: Model, batch_tokens: int | None = None) -> None:
        super().__init__()
        self.model = model
        width = model.config.get_text_config(encoder=True).hidden_size
        self.step_tokens = budget([sys.maxsize], model.device_type, width, 1, batch_tokens).tokens
        self.last_step = float("-inf")


class Scheduler:
    """Steps of all models, taken and computed on a thread for each core; all else runs in the event loop's thread.

    Nothing waits for a batch to fill: a thread that is done takes what has come meanwhile, so steps are full when there
    is much to do and small when there is little.
    """

    def __init__(self, models: Iterable[Model], on_step: Callable[[Step], None] = lambda _: None) -> None:
        self._queues: set[ModelQueue] = set()  # those in which something may wait
        self._on_step = on_step
        self._threads = _threads_for(models)
        self._pool = ThreadPoolExecutor(self._threads, "bertie-step")
        self._running = 0
        self._lock = Lock()  # of what is above, which the threads change too

    def submit(self, queue: ModelQueue, work: Work) -> None:
        """Have work computed; its ``answered`` says when it is."""
        queue.add(work)
        with self._lock:
            self._queues.add(queue)
            if self._running < self._threads:
                self._running += 1
                self._pool.submit(self._compute_steps)

    def close(self) -> None:
        """Let the steps that run end, and begin no others."""
        with self._lock:
            self._queues.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _compute_steps(self) -> None:
        """Compute what waits until there is nothing left."""
        while (taken := self._take()) is not None:
            queue, threads, shares = taken
            values: Iterable[Any]
            step: Step | None
            try:
                values, step = _compute(queue, queue.model.with_threads(threads), shares)
            except Exception as error:
                values, step = repeat(error), None
            loop = shares[0].work.answered.get_loop()
            loop.call_soon_threadsafe(self._end_step, shares, values, step)

    def _take(self) -> tuple[ModelQueue, int, list[Share]] | None:
        """Return the rows of the next step, and how many cores compute them; None if nothing waits."""
        with self._lock:
            while self._queues:
                queue = min(self._queues, key=lambda queue: queue.oldest)
                if shares := queue.take(queue.step_tokens):
                    # a step with nothing beside it has all cores
                    alone = self._running == 1 and not any(map(len, self._queues))
                    return queue, self._threads if alone else 1, shares
                self._queues.remove(queue)
            self._running -= 1
            return None

    def _end_step(self, shares: list[Share], values: Iterable[Any], step: Step | None) -> None:
        found = iter(values)
        for work, rows in shares:
            for row in rows:
                work.keep(row, next(found))
        if step is not None:
            self._on_step(step)


def _threads_for(models: Iterable[Model]) -> int:
    """Return how many steps may be computed at once: as many as cores by the engine, which PyTorch divides itself."""
    kinds = {"engine" if isinstance(model, Engine) else model.device_type for model in models}
    if kinds == {"engine"}:
        return cores_to_divide()
    return 2 if "cuda" in kinds else 1


class GoneError(BertieError):
    """Nobody waits for what is being written any more."""


class _BetweenWords:
    """Between two words of texts that are written: says that the model computes, and ends what nobody waits for."""

    def __init__(self, queue: ModelQueue, works: Sequence[Work]) -> None:
        self._queue, self._works = queue, works

    def __call__(self, _ids: Any, scores: Any) -> Any:
        self._queue.last_step = monotonic()
        if all(work.answered.done() for work in self._works):
            raise GoneError("Nobody waits for this text any more.")
        return scores


def _compute(queue: ModelQueue, model: Model, shares: list[Share]) -> tuple[list[Any], Step]:
    """Return what is kept of each row, or its error, in the order of the shares."""
    began, task = monotonic(), shares[0].work.task
    if isinstance(task, Generation):
        task = task.with_options(logits_processor=[_BetweenWords(queue, [work for work, _ in shares])])
    features = Features.concatenate([work.features.select(rows) for work, rows in shares]).without_texts()
    order = sorted(range(len(features.lengths)), key=lambda row: -features.lengths[row])
    values: list[Any] = [None] * len(order)
    for row, value in zip(order, _each_row(task, model, features.select(order)), strict=True):
        values[row] = value
    queue.last_step = monotonic()
    rectangle = len(order) * max(features.lengths)
    return values, Step(len(order), len(features.ids), monotonic() - began, rectangle - len(features.ids))


def _each_row(task: Task, model: Model, features: Features) -> list[Any]:
    """Return what is kept of each row, or the error of computing it, which costs no other row its answer.

    A batch that fails, or exhausts the memory, is halved until the guilty row is alone.
    """
    rows = range(len(features.lengths))
    try:
        return list(compute_batch(task, model, features, lambda: rows))
    except Exception as error:
        if len(rows) == 1 or isinstance(error, GoneError):
            return [error.with_traceback(None)] * len(rows)
        logger.warning("A step of %d rows failed (%s); it is halved.", len(rows), type(error).__name__)
    # only here, after the error and the arrays in its frames are gone, is their memory free
    middle = len(rows) // 2
    return [value for part in (rows[:middle], rows[middle:]) for value in _each_row(task, model, features.select(part))]
