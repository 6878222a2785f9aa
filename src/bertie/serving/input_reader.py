"""Encodes and decodes: short inputs inline and batched by turn of the event loop, long ones on threads."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from bertie.tasks.features import Features
from bertie.tasks.task import Task

# up to this many characters, waking a thread would cost more than the work
_INLINE_CHARACTERS = 4_000


class _Request(NamedTuple):
    task: Task
    inputs: Sequence[Any]
    features: "asyncio.Future[Features]"


class InputReader:
    """Tokenizes the inputs for all models: in the event loop's thread if they are short, else in a pool.

    A tokenizer call costs more than a short text, so requests that arrive in one turn of the event loop share one.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "bertie-read")
        self._waiting: list[_Request] = []

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def features_of(self, task: Task, inputs: Sequence[Any], characters: int) -> Features:
        """Return the `Task.encode` of inputs of ``characters`` characters in all."""
        if characters > _INLINE_CHARACTERS:
            return await self.run(task.encode, inputs, characters=characters)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._read)
        self._waiting.append(_Request(task, inputs, loop.create_future()))
        return await self._waiting[-1].features

    async def run(self, function: Callable[..., Any], *given: Any, characters: int) -> Any:
        """Call a function that processes ``characters`` characters, inline or in the pool."""
        if characters > _INLINE_CHARACTERS:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *given)
        return function(*given)

    def _read(self) -> None:
        """Encode the inputs that arrived in the last turn."""
        by_task: dict[int, list[_Request]] = {}
        for request in self._waiting:
            if not request.features.done():
                by_task.setdefault(id(request.task), []).append(request)
        self._waiting = []
        for requests in by_task.values():
            _read_together(requests)


def _read_together(requests: Sequence[_Request]) -> None:
    """Encode requests for one task in one call; if that fails, each by itself, so that only the faulty one fails."""
    firsts = accumulate((len(request.inputs) for request in requests), initial=0)
    try:
        features = requests[0].task.encode([one for request in requests for one in request.inputs])
        own = [features.select_inputs(range(*ends)) for ends in pairwise(firsts)]
    except Exception as error:
        if len(requests) == 1:
            requests[0].features.set_exception(error)
        else:
            for request in requests:
                _read_together([request])
        return
    for request, each in zip(requests, own, strict=True):
        request.features.set_result(each)
