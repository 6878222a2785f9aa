"""Threads that read and write texts off the event loop; what waits is done together, for waking one has a price."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, NamedTuple

# what a thread has done is handed over after so many seconds, though more waits
_PATIENCE = 0.002


class _Call(NamedTuple):
    function: Callable[..., Any]
    given: tuple[Any, ...]
    called: "asyncio.Future[Any]"


class ReadingThreads:
    """A few threads for short calls. `run` is awaited in the event loop's thread.

    Attributes:
        count: how many threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, "bertie-read")
        self._waiting: deque[_Call] = deque()
        self._busy = 0

    async def run(self, function: Callable[..., Any], *given: Any) -> Any:
        """Return what a function gives."""
        loop = asyncio.get_running_loop()
        call = _Call(function, given, loop.create_future())
        self._waiting.append(call)
        self._begin(loop)
        return await call.called

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and self._busy < self.count:
            self._busy += 1
            self._pool.submit(self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do what waits for a while, and hand all of it over at once."""
        done, until = [], monotonic() + _PATIENCE
        while monotonic() < until:
            try:
                call = self._waiting.popleft()
            except IndexError:
                break
            if not call.called.cancelled():
                done.append((call.called, *_outcome(call)))
        loop.call_soon_threadsafe(self._deliver, loop, done)

    def _deliver(self, loop: asyncio.AbstractEventLoop, done: list[tuple[Any, Any, Exception | None]]) -> None:
        self._busy -= 1
        for called, value, error in done:
            if called.done():
                continue
            if error is None:
                called.set_result(value)
            else:
                called.set_exception(error)
        self._begin(loop)


def _outcome(call: _Call) -> tuple[Any, Exception | None]:
    try:
        return call.function(*call.given), None
    except Exception as error:
        return None, error
