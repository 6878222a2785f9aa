"""Requests that arrive together are encoded together, each with its own features or error."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.errors import InputTypeError
from bertie.serving.input_reader import InputReader
from bertie.tasks.features import Features

LONG = "a long text " * 1_000


@pytest.fixture
def task(folders: dict[str, Path]) -> Any:
    return bertie.pipeline("embed", folders["vectors"]).codec


def read(task: Any, *requests: list[Any]) -> list[Any]:
    async def run() -> list[Any]:
        reader = InputReader(2)
        asked = [reader.features_of(task, inputs, sum(len(str(one)) for one in inputs)) for inputs in requests]
        found = await asyncio.gather(*asked, return_exceptions=True)
        reader.close()
        return found

    return asyncio.run(run())


def test_batched_requests_get_the_same_features_as_single_ones(task: Any) -> None:
    requests = [["a cat", "two dogs"], ["a bird"], [LONG], [LONG, "a fish"], ["a third text"] * 5]
    for features, inputs in zip(read(task, *requests), requests, strict=True):
        expected: Features = task.encode(inputs)
        assert features.input_ids == expected.input_ids
        assert (features.truncated, list(features.texts)) == (expected.truncated, inputs)


def test_an_invalid_request_does_not_affect_others(task: Any) -> None:
    good, wrong, also = read(task, ["a cat"], ["a dog", 7], ["a bird"])
    assert isinstance(wrong, InputTypeError)
    assert str(wrong).startswith("Input 1 is 7")
    assert (good.lengths, also.lengths) == ([4], [4])


def test_every_request_ends_if_splitting_the_batch_fails(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Features, inputs: range) -> Features:
        raise MemoryError

    monkeypatch.setattr(Features, "select_inputs", fail)
    assert [type(one) for one in read(task, ["a cat"], ["a bird"])] == [MemoryError] * 2


def test_cancelled_requests_are_skipped(task: Any) -> None:
    async def run() -> None:
        reader = InputReader(1)
        gone, stays = (asyncio.ensure_future(reader.features_of(task, [text], 5)) for text in ("a cat", "a dog"))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays).texts == ["a dog"]
        assert gone.cancelled()
        reader.close()

    asyncio.run(run())
