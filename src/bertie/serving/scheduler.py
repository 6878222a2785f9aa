"""Computes the jobs queued for all models, in steps of packed rows on a few threads."""

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
from bertie.serving.step_queue import Job, Share, StepQueue
from bertie.tasks.features import Features
from bertie.tasks.inference import compute_batch
from bertie.tasks.model import Model
from bertie.tasks.task import Task
from bertie.tasks.text_generation import Generation


class Step(NamedTuple):
    """Statistics of a step: rows and tokens computed, seconds taken, and the padding tokens that it avoided."""

    rows: int
    tokens: int
    seconds: float
    padding: int


class ModelQueue(StepQueue):
    """The queue of a model, with the token budget of its steps and the time of the last one."""

    def __init__(self, model: Model, batch_tokens: int | None = None) -> None:
        super().__init__()
        self.model = model
        width = model.config.get_text_config(encoder=True).hidden_size
        self.step_tokens = budget([sys.maxsize], model.device_type, width, 1, batch_tokens).tokens
        self.last_step = float("-inf")


class Scheduler:
    """Computes the steps of all models on a thread for each core; all else runs in the event loop's thread.

    Nothing waits for a batch to fill: a free thread takes whatever has arrived, so steps are full under load and small
    otherwise.
    """

    def __init__(self, models: Iterable[Model], on_step: Callable[[Step], None] = lambda _: None) -> None:
        self._queues: set[ModelQueue] = set()  # those that may not be empty
        self._on_step = on_step
        self._threads = _threads_for(models)
        self._pool = ThreadPoolExecutor(self._threads, "bertie-step")
        self._running = 0
        self._lock = Lock()  # guards `_queues` and `_running`

    def submit(self, queue: ModelQueue, job: Job) -> None:
        """Queue a job; its ``future`` resolves when it is computed."""
        queue.add(job)
        with self._lock:
            self._queues.add(queue)
            if self._running < self._threads:
                self._running += 1
                self._pool.submit(self._compute_steps)

    def close(self) -> None:
        """Let running steps finish, and start no others."""
        with self._lock:
            self._queues.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _compute_steps(self) -> None:
        """Compute steps until the queues are empty."""
        while (taken := self._take()) is not None:
            queue, threads, shares = taken
            values: Iterable[Any]
            step: Step | None
            try:
                values, step = _compute(queue, queue.model.with_threads(threads), shares)
            except Exception as error:
                values, step = repeat(error), None
            loop = shares[0].job.future.get_loop()
            loop.call_soon_threadsafe(self._end_step, shares, values, step)

    def _take(self) -> tuple[ModelQueue, int, list[Share]] | None:
        """Return the rows of the next step and the number of cores for it; None if nothing waits."""
        with self._lock:
            while self._queues:
                queue = min(self._queues, key=lambda queue: queue.oldest)
                if shares := queue.take(queue.step_tokens):
                    # a step with nothing beside it gets all cores
                    alone = self._running == 1 and not any(map(len, self._queues))
                    return queue, self._threads if alone else 1, shares
                self._queues.remove(queue)
            self._running -= 1
            return None

    def _end_step(self, shares: list[Share], values: Iterable[Any], step: Step | None) -> None:
        found = iter(values)
        for job, rows in shares:
            for row in rows:
                job.set_result(row, next(found))
        if step is not None:
            self._on_step(step)


def _threads_for(models: Iterable[Model]) -> int:
    """Return how many steps may run at once: one a core with the engine; PyTorch uses all cores in each step itself."""
    kinds = {"engine" if isinstance(model, Engine) else model.device_type for model in models}
    if kinds == {"engine"}:
        return cores_to_divide()
    return 2 if "cuda" in kinds else 1


class GoneError(BertieError):
    """Nobody waits for the text being generated any more."""


class _StopWhenAbandoned:
    """A logits processor, called for every generated token: marks the model as alive, and stops abandoned texts."""

    def __init__(self, queue: ModelQueue, jobs: Sequence[Job]) -> None:
        self._queue, self._jobs = queue, jobs

    def __call__(self, _ids: Any, scores: Any) -> Any:
        self._queue.last_step = monotonic()
        if all(job.future.done() for job in self._jobs):
            raise GoneError("Nobody waits for this text any more.")
        return scores


def _compute(queue: ModelQueue, model: Model, shares: list[Share]) -> tuple[list[Any], Step]:
    """Return the result of each row, or its error, in the order of the shares."""
    began, task = monotonic(), shares[0].job.task
    if isinstance(task, Generation):
        task = task.with_options(logits_processor=[_StopWhenAbandoned(queue, [job for job, _ in shares])])
    features = Features.concatenate([job.features.select(rows) for job, rows in shares]).without_texts()
    order = sorted(range(len(features.lengths)), key=lambda row: -features.lengths[row])
    values: list[Any] = [None] * len(order)
    for row, value in zip(order, _compute_isolated(task, model, features.select(order)), strict=True):
        values[row] = value
    queue.last_step = monotonic()
    padded = len(order) * max(features.lengths)
    return values, Step(len(order), len(features.ids), monotonic() - began, padded - len(features.ids))


def _compute_isolated(task: Task, model: Model, features: Features) -> list[Any]:
    """Return the result of each row, or its error; a row that fails leaves the others' results alone.

    A batch that fails, or runs out of memory, is halved until the offending row is alone.
    """
    rows = range(len(features.lengths))
    try:
        return list(compute_batch(task, model, features, lambda: rows))
    except Exception as error:
        if len(rows) == 1 or isinstance(error, GoneError):
            return [error.with_traceback(None)] * len(rows)
        logger.warning("A step of %d rows failed (%s); it is halved.", len(rows), type(error).__name__)
    # outside the except block: only now are the error, and the arrays that its traceback holds, freed
    middle = len(rows) // 2
    halves = (features.select(part) for part in (rows[:middle], rows[middle:]))
    return [value for half in halves for value in _compute_isolated(task, model, half)]
