"""Calls that wait are done together, each with its own outcome."""

import asyncio
import threading
from typing import Any

import pytest

from bertie.serving.reading_threads import ReadingThreads


def test_every_call_gets_its_own_value_or_error() -> None:
    async def run() -> None:
        threads = ReadingThreads(2)
        found = await asyncio.gather(*(threads.run(int, text) for text in ("1", "x", "3") * 50), return_exceptions=True)
        assert [value if isinstance(value, int) else type(value) for value in found] == [1, ValueError, 3] * 50
        threads.close()

    asyncio.run(run())


def test_what_is_cancelled_is_not_done_and_what_waits_shares_a_turn() -> None:
    async def run() -> None:
        threads, held, done = ReadingThreads(1), threading.Event(), []
        first = asyncio.ensure_future(threads.run(held.wait))
        others = [asyncio.ensure_future(threads.run(done.append, number)) for number in range(5)]
        await asyncio.sleep(0.01)
        others[2].cancel()
        await asyncio.sleep(0)
        held.set()
        await first
        outcomes: Any = await asyncio.gather(*others, return_exceptions=True)
        assert isinstance(outcomes[2], asyncio.CancelledError)
        assert done == [0, 1, 3, 4]
        threads.close()

    asyncio.run(run())


def test_a_call_in_a_cancelled_request_changes_nothing_for_others() -> None:
    async def run() -> None:
        threads = ReadingThreads(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await threads.run(threading.Event().wait, 0.05)
        assert await threads.run(int, "7") == 7
        threads.close()

    asyncio.run(run())
