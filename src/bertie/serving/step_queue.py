"""The queue of one model: rows of all requests, dequeued by token budget and fairly between clients."""

import asyncio
import heapq
from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple

from bertie.tasks.features import Features
from bertie.tasks.task import Task


@dataclass(eq=False)
class Job:
    """One request's rows."""

    task: Task  # rows whose task is the same object can share a step
    features: Features
    client: str
    # resolves to what `Task.rows` returns for each row, or to the error of one of them; cancelling it withdraws the
    # rows that no step has taken
    future: "asyncio.Future[list[Any]]"
    max_rows: int | None = None  # in a step; None: as many as the token budget allows
    results: list[Any] = field(init=False)  # by row; None until computed
    taken: int = 0  # rows that steps have taken
    pending: int = field(init=False)  # rows that are not computed yet
    queued: float = field(default_factory=monotonic)
    started: float | None = None  # when a step took the first row

    def __post_init__(self) -> None:
        self.pending = len(self.features.lengths)
        self.results = [None] * self.pending

    @property
    def waiting_tokens(self) -> int:
        """The tokens of rows that no step has taken."""
        return sum(self.features.lengths[self.taken :])

    def set_result(self, row: int, value: Any) -> None:
        """Store the result of a row, or fail the job with the error of computing it."""
        if self.future.done():
            return
        if isinstance(value, Exception):
            self.future.set_exception(value)
            return
        self.results[row] = value
        self.pending -= 1
        if not self.pending:
            self.future.set_result(self.results)


class Share(NamedTuple):
    """The rows of one job that a step computes."""

    job: Job
    rows: range


class StepQueue:
    """The jobs that wait for one model, a lane for each client; thread-safe.

    This is fair queueing: the client served the fewest tokens is next, and a new client starts at the count of the one
    served last. So one client's large batch never holds up another's single text.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Job]] = {}
        self._tokens_served: dict[str, int] = {}
        self._virtual_time = 0
        self._lock = Lock()
        self.tokens = 0

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._lanes.values()))

    @property
    def oldest(self) -> float:
        """When the job that has waited longest was queued; infinity if none waits."""
        with self._lock:
            return min((lane[0].queued for lane in self._lanes.values()), default=float("inf"))

    def add(self, job: Job) -> None:
        """Append a job to its client's lane; it is removed once its ``future`` is done."""
        with self._lock:
            if job.client not in self._lanes:
                self._lanes[job.client] = deque()
                self._tokens_served[job.client] = self._virtual_time
            self._lanes[job.client].append(job)
            self.tokens += job.waiting_tokens
        job.future.add_done_callback(lambda _: self._withdraw(job))

    def take(self, tokens: int) -> list[Share]:
        """Return the next rows of one task: at most ``tokens`` in all, or a single longer row."""
        taken: dict[Job, range] = {}
        task, total, rows, max_rows = None, 0, 0, None
        with self._lock:
            turns = [(self._tokens_served[client], client) for client in self._lanes]
            heapq.heapify(turns)
            while turns:
                served, client = heapq.heappop(turns)
                job = self._lanes[client][0]
                if task is not None and job.task is not task:
                    continue
                length = job.features.lengths[job.taken]
                if taken and (total + length > tokens or rows == max_rows):
                    break
                task, total, rows, max_rows = job.task, total + length, rows + 1, job.max_rows
                self._virtual_time = served
                self._take_row(job, length)
                taken[job] = range(taken[job].start if job in taken else job.taken - 1, job.taken)
                if client in self._lanes:
                    heapq.heappush(turns, (self._tokens_served[client], client))
        return [Share(job, rows) for job, rows in taken.items()]

    def _take_row(self, job: Job, length: int) -> None:
        job.started = job.started or monotonic()
        job.taken += 1
        self._tokens_served[job.client] += length
        self.tokens -= length
        if job.taken == len(job.features.lengths):
            self._remove(job)

    def _withdraw(self, job: Job) -> None:
        """Drop rows that nobody waits for any more."""
        with self._lock:
            if job.taken < len(job.features.lengths):
                self.tokens -= job.waiting_tokens
                job.taken = len(job.features.lengths)
                self._remove(job)

    def _remove(self, job: Job) -> None:
        lane = self._lanes[job.client]
        lane.remove(job)
        if not lane:
            del self._lanes[job.client], self._tokens_served[job.client]
