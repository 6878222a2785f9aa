"""Texts to features and back to answers: what is short at once, requests that came together by one call."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from bertie.tasks.features import Features
from bertie.tasks.task import Task

# waking a thread has a price, which texts of no more characters than this are not worth
_SHORT = 4_000


class _Request(NamedTuple):
    task: Task
    inputs: Sequence[Any]
    read: "asyncio.Future[Features]"


class InputReader:
    """Reads inputs of requests for all models, in the event loop's thread if they are short, else on others.

    A call of a tokenizer costs more than a short text: those that come in one turn of the event loop share one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "bertie-read")
        self._waiting: list[_Request] = []

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def features_of(self, task: Task, inputs: Sequence[Any], characters: int) -> Features:
        """Return what `Task.encode` makes of inputs that have so many characters."""
        if characters > _SHORT:
            return await self.run(task.encode, inputs, characters=characters)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._read)
        self._waiting.append(_Request(task, inputs, loop.create_future()))
        return await self._waiting[-1].read

    async def run(self, function: Callable[..., Any], *given: Any, characters: int) -> Any:
        """Return what a function gives that handles so many characters."""
        if characters > _SHORT:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)
        return function(*given)

    def _read(self) -> None:
        """Read what came in the last turn."""
        by_task: dict[int, list[_Request]] = {}
        for one in self._waiting:
            if not one.read.done():
                by_task.setdefault(id(one.task), []).append(one)
        self._waiting = []
        for together in by_task.values():
            _read_together(together)


def _read_together(requests: Sequence[_Request]) -> None:
    """Read requests for one task by one call; if that fails, each by itself, for only one may be wrong."""
    firsts = accumulate((len(request.inputs) for request in requests), initial=0)
    try:
        features = requests[0].task.encode([one for request in requests for one in request.inputs])
        own = [features.select_inputs(range(*ends)) for ends in pairwise(firsts)]
    except Exception as error:
        if len(requests) == 1:
            requests[0].read.set_exception(error)
        else:
            for request in requests:
                _read_together([request])
        return
    for request, each in zip(requests, own, strict=True):
        request.read.set_result(each)
