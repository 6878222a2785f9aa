"""Rows are dequeued by budget, fairly between clients, one task per step; and errors stay with their own request."""

import asyncio
import gc
import weakref
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest

import bertie
from bertie.engine import Engine
from bertie.errors import BertieError, InputError
from bertie.pipelines.head_tasks import tasks_of
from bertie.serving import service as service_module
from bertie.serving.refusals import Refusal
from bertie.serving.scheduler import ModelQueue, Scheduler
from bertie.serving.served_model import ServedModel
from bertie.serving.service import Limits, Service
from bertie.serving.step_queue import Job, StepQueue
from bertie.tasks.features import Features

SAME: Any = object()


def job(client: str, *lengths: int, task: Any = SAME) -> Job:
    features = Features(
        np.zeros(sum(lengths), np.int64), None, list(lengths), [0] * len(lengths), [False] * len(lengths)
    )
    return Job(task, features, client, asyncio.get_running_loop().create_future())


def taken(queue: StepQueue, tokens: int) -> list[tuple[str, list[int]]]:
    return [(share.job.client, list(share.rows)) for share in queue.take(tokens)]


def test_clients_take_turns_whatever_they_send() -> None:
    async def run() -> None:
        queue = StepQueue()
        queue.add(job("many", *[4] * 6))
        assert taken(queue, 8) == [("many", [0, 1])]
        queue.add(job("one", 4))
        queue.add(job("other", 2, 2))
        assert dict(taken(queue, 12)) == {"one": [0], "other": [0, 1], "many": [2]}
        assert taken(queue, 100) == [("many", [3, 4, 5])]
        assert (len(queue), queue.tokens, queue.take(8), queue.oldest) == (0, 0, [], float("inf"))

    asyncio.run(run())


def test_a_row_above_the_budget_gets_its_own_step_and_tasks_do_not_mix() -> None:
    async def run() -> None:
        queue = StepQueue()
        queue.add(job("a", 30, 3))
        queue.add(job("b", 4, task=object()))
        queue.add(job("b", 4))
        assert taken(queue, 10) == [("a", [0])]
        assert taken(queue, 10) == [("b", [0])]
        assert taken(queue, 10) == [("b", [0]), ("a", [1])]

    asyncio.run(run())


def test_abandoned_jobs_are_dropped() -> None:
    async def run() -> None:
        queue = StepQueue()
        gone, stays = job("a", 5, 5), job("a", 3)
        queue.add(gone)
        queue.add(stays)
        assert queue.tokens == 13
        queue.take(5)
        gone.future.cancel()
        await asyncio.sleep(0)
        assert queue.tokens == 3
        assert [share.job for share in queue.take(10)] == [stays]

    asyncio.run(run())


def service_of(folder: Path) -> tuple[Service, ServedModel]:
    model = ServedModel.open(str(folder), batch_tokens=64)
    return Service([model], Limits()), model


def test_requests_of_many_clients_share_steps_and_get_their_own_answers(folders: dict[str, Path]) -> None:
    texts = [f"text number {number} " * (number % 7 + 1) for number in range(40)]
    expected = bertie.pipeline("embed", folders["vectors"])(texts)
    steps: list[int] = []

    async def run() -> None:
        model = ServedModel.open(str(folders["vectors"]), batch_tokens=256)
        service = Service([model], Limits(), lambda step: steps.append(step.rows))
        asked = [service.answer(model, "embed", [text], f"client {number % 9}") for number, text in enumerate(texts)]
        found = await asyncio.gather(*asked, service.answer(model, "embed", texts, "all"))
        service.close()
        for number, answers in enumerate(found[:-1]):
            np.testing.assert_array_equal(answers.values[0], expected[number])  # bitwise, as the engine promises
        np.testing.assert_array_equal(np.stack(found[-1].values), expected)

    asyncio.run(run())
    assert sum(steps) == 80
    assert len(steps) < 60


def test_a_poisoned_request_fails_alone(folders: dict[str, Path]) -> None:
    """The embedding of one id is NaN: only the request with that token gets an error, the rest of the step answers."""
    model = bertie.BertModel.from_pretrained(folders["vectors"])
    poison = bertie.AutoTokenizer.from_pretrained(folders["vectors"]).convert_tokens_to_ids("poison")
    model.embeddings.word_embeddings.weight.data[poison] = float("nan")
    engine = Engine.of(model)

    async def run() -> None:
        served = ServedModel("m", {"embed": bertie.pipeline("embed", engine, tokenizer=str(folders["vectors"]))})
        service = Service([served], Limits())
        texts = ["a cat", "a dog", "poison", "a bird", "a fish"]
        asked = [service.answer(served, "embed", [text], text) for text in texts]
        found = await asyncio.gather(*asked, return_exceptions=True)
        service.close()
        assert [isinstance(one, BertieError) for one in found] == [False, False, True, False, False]
        assert "NaN or infinite numbers" in str(found[2])
        assert len(served.queue) == 0

    asyncio.run(run())


def test_pytorch_computes_what_the_engine_does_not(folders: dict[str, Path]) -> None:
    module = bertie.BertModel.from_pretrained(folders["vectors"])
    expected = bertie.pipeline("embed", folders["vectors"])(["a cat", "a dog"])

    async def run() -> None:
        served = ServedModel("m", {"embed": bertie.pipeline("embed", module)})
        service = Service([served], Limits())
        answers = await service.answer(served, "embed", ["a cat", "a dog"])
        np.testing.assert_allclose(np.stack(answers.values), expected, atol=1e-5)
        service.close()

    asyncio.run(run())


def test_a_step_that_runs_out_of_memory_is_halved(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    service, model = service_of(folders["vectors"])
    usual = Engine.hidden_states

    def hidden_states(self: Any, rows: Any) -> Any:
        if len(rows.lengths) > 2:
            raise MemoryError
        return usual(self, rows)

    monkeypatch.setattr(Engine, "hidden_states", hidden_states)

    async def run() -> None:
        answers = await service.answer(model, "embed", ["a", "b", "c", "d", "e"])
        assert len(answers.values) == 5
        service.close()

    asyncio.run(run())


def test_cancelled_jobs_leave_the_queue(folders: dict[str, Path]) -> None:
    service, model = service_of(folders["vectors"])

    async def run() -> None:
        large = asyncio.ensure_future(service.answer(model, "embed", ["one two three four"] * 400, "large"))
        while not model.queue.tokens:
            await asyncio.sleep(0.001)
        small = await service.answer(model, "embed", ["a"], "small")
        assert small.tokens == 3
        assert not large.done()
        large.cancel()
        await asyncio.sleep(0.01)
        assert (len(model.queue), model.queue.tokens) == (0, 0)
        service.close()

    asyncio.run(run())


def test_a_queue_emptied_between_look_and_take_does_not_block_others(folders: dict[str, Path]) -> None:
    """The rows of the next queue may be withdrawn between choosing the queue and taking them."""

    class Left(ModelQueue):
        oldest = 0.0

    async def run() -> None:
        model = ServedModel.open(str(folders["vectors"]))
        task = model.task("embed")
        waits = Job(task, task.encode(["a"]).without_texts(), "", asyncio.get_running_loop().create_future())
        scheduler = Scheduler([model.queue.model])
        scheduler._queues.add(Left(model.queue.model))
        scheduler.submit(model.queue, waits)
        assert len(await asyncio.wait_for(waits.future, 60)) == 1
        scheduler.close()

    asyncio.run(run())


def test_a_replaced_model_is_freed_by_reference_counting(folders: dict[str, Path]) -> None:
    """The server freezes its initial objects, so the garbage collector does not see them."""
    gc.collect()
    gc.disable()
    try:
        model = ServedModel.open(str(folders["vectors"]))
        model.task("embed", truncation_side="left")
        engine = weakref.ref(model.queue.model)
        del model
        assert engine() is None
    finally:
        gc.enable()


def test_ids_are_checked_and_long_texts_refused_or_truncated_on_either_side(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, model = service_of(folders["vectors"])

    async def run() -> None:
        where: list[str] = []
        usual = service_module.decoded
        monkeypatch.setattr(
            service_module, "decoded", lambda *given: where.append(current_thread().name) or usual(*given)
        )
        for ids in ([101, 102], [7] * 5_000):
            await service.answer(model, "embed", [ids])
        assert where[0] == "MainThread"
        assert where[1].startswith("bertie-read"), "what is long does not hold up others"
        with pytest.raises(InputError, match="Token 1 of input 0 has the id 30522"):
            await service.answer(model, "embed", [[101, 30522]])
        long = " ".join(["word"] * 100)
        cut = await service.answer(model, "embed", [long])
        assert (cut.truncated, cut.tokens) == ([38], 64)
        with pytest.raises(Refusal, match="must have less than 64 tokens. Given: 102"):
            await service.answer(model, "embed", [long], refuse_truncation=True)
        ends = [f"first {long}", f"{long} last"]
        right = await service.answer(model, "embed", ends, truncation_side="right")
        left = await service.answer(model, "embed", ends, truncation_side="left")
        assert not np.array_equal(right.values[0], left.values[0])
        assert np.array_equal(right.values[1], cut.values[0])
        service.close()

    asyncio.run(run())


def test_tasks_of_heads(folders: dict[str, Path], tmp_path: Path) -> None:
    assert tasks_of(str(folders["score"])) == ("reranking", "text-classification")
    assert tasks_of(str(folders["words"])) == ("fill-mask", "next-sentence")
    assert tasks_of(str(folders["tags"])) == ("token-classification",)
    bertie.BertConfig(architectures=["BertForImages"]).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a BertForImages; bertie knows a task for BertModel"):
        tasks_of(str(tmp_path))
