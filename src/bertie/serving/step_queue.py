"""What waits to be computed: rows of all requests to one model, taken by token budget, fairly between clients."""

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
class Work:
    """One request's rows."""

    task: Task  # computes them; rows whose task is the same object share a step
    features: Features
    client: str  # in whose turn they are taken
    # set to what `Task.rows` keeps of each row, or to the error of one of them; whoever cancels it withdraws the rows
    # that no step has taken
    answered: "asyncio.Future[list[Any]]"
    most_rows: int | None = None  # in a step of it; None: as many as its tokens allow
    kept: list[Any] = field(init=False)  # what is known so far of each row
    taken: int = 0  # how many rows steps have taken
    left: int = field(init=False)  # how many rows are not computed
    queued: float = field(default_factory=monotonic)
    started: float | None = None  # when a step took its first row

    def __post_init__(self) -> None:
        self.left = len(self.features.lengths)
        self.kept = [None] * self.left

    @property
    def waiting_tokens(self) -> int:
        """The tokens of rows that no step has taken."""
        return sum(self.features.lengths[self.taken :])

    def keep(self, row: int, value: Any) -> None:
        """Take what was computed of a row, or the error of computing it."""
        if self.answered.done():
            return
        if isinstance(value, Exception):
            self.answered.set_exception(value)
            return
        self.kept[row] = value
        self.left -= 1
        if not self.left:
            self.answered.set_result(self.kept)


class Share(NamedTuple):
    """The rows of one work that a step computes."""

    work: Work
    rows: range


class StepQueue:
    """The work that waits for one model, a lane for each client; several threads may use it.

    The client who has had the fewest tokens is next (one who comes anew counts like the last one served), so a large
    batch of one client never stands before a single text of another.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Work]] = {}
        self._had: dict[str, int] = {}
        self._turn = 0
        self._lock = Lock()
        self.tokens = 0

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._lanes.values()))

    @property
    def oldest(self) -> float:
        """When the work that waits longest came; infinity if none waits."""
        with self._lock:
            return min((lane[0].queued for lane in self._lanes.values()), default=float("inf"))

    def add(self, work: Work) -> None:
        """Put work behind the rest of its client's; it leaves by itself once ``answered`` is done."""
        with self._lock:
            if work.client not in self._lanes:
                self._lanes[work.client] = deque()
                self._had[work.client] = self._turn
            self._lanes[work.client].append(work)
            self.tokens += work.waiting_tokens
        work.answered.add_done_callback(lambda _: self._withdraw(work))

    def take(self, tokens: int) -> list[Share]:
        """Return the next rows, of ``tokens`` in all or one longer row, that are computed by one task."""
        taken: dict[Work, range] = {}
        task, total, rows, most = None, 0, 0, None
        with self._lock:
            turns = [(self._had[client], client) for client in self._lanes]
            heapq.heapify(turns)
            while turns:
                had, client = heapq.heappop(turns)
                work = self._lanes[client][0]
                if task is not None and work.task is not task:
                    continue
                length = work.features.lengths[work.taken]
                if taken and (total + length > tokens or rows == most):
                    break
                task, total, rows, most, self._turn = work.task, total + length, rows + 1, work.most_rows, had
                self._take_row(work, length)
                taken[work] = range(taken[work].start if work in taken else work.taken - 1, work.taken)
                if client in self._lanes:
                    heapq.heappush(turns, (self._had[client], client))
        return [Share(work, rows) for work, rows in taken.items()]

    def _take_row(self, work: Work, length: int) -> None:
        work.started = work.started or monotonic()
        work.taken += 1
        self._had[work.client] += length
        self.tokens -= length
        if work.taken == len(work.features.lengths):
            self._remove(work)

    def _withdraw(self, work: Work) -> None:
        """Forget rows that nobody waits for any more."""
        with self._lock:
            if work.taken < len(work.features.lengths):
                self.tokens -= work.waiting_tokens
                work.taken = len(work.features.lengths)
                self._remove(work)

    def _remove(self, work: Work) -> None:
        lane = self._lanes[work.client]
        lane.remove(work)
        if not lane:
            del self._lanes[work.client], self._had[work.client]
