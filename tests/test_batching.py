"""Batches by token budget: every text once, within budget, equal lengths together, smaller when memory runs out."""

import logging
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie import batching
from bertie.batching import (
    Budget,
    batches,
    budget,
    cores_to_divide,
    in_batches,
    in_order,
    is_out_of_memory,
    padding_share,
)
from bertie.errors import BertieError, InputError

LENGTHS = st.lists(st.integers(0, 60), max_size=60)


def test_an_example() -> None:
    assert list(batches([3, 9, 3, 5, 3], tokens=9)) == [[1], [3, 0], [2, 4]]
    assert list(batches([3, 9, 3, 5, 3], tokens=100, texts=2)) == [[1, 3], [0, 2], [4]]
    assert list(batches([], tokens=4)) == []


@given(LENGTHS, st.integers(1, 100), st.one_of(st.none(), st.integers(1, 8)))
def test_every_text_is_in_one_batch_that_keeps_the_budget(lengths: list[int], tokens: int, texts: int | None) -> None:
    made = list(batches(lengths, tokens, texts))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert sum(lengths[index] for index in batch) <= tokens or len(batch) == 1
        assert texts is None or len(batch) <= texts
    order = [lengths[index] for batch in made for index in batch]
    assert order == sorted(order, reverse=True)


@given(LENGTHS, st.integers(1, 100), st.integers(1, 3))
def test_answers_are_in_order(lengths: list[int], tokens: int, workers: int) -> None:
    answers = in_batches(lengths, lambda batch: [10 * index for index in batch], tokens, workers=workers)
    assert in_order(answers, len(lengths)) == [10 * index for index in range(len(lengths))]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    ],
)
def test_30_a_batch_that_exhausts_the_memory_is_halved(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    lengths, tried = [5] * 16, []

    def compute(batch: list[int]) -> list[int]:
        tried.append(len(batch))
        if len(batch) > 3:
            raise error
        return batch

    with caplog.at_level(logging.WARNING, "bertie"):
        assert in_order(in_batches(lengths, compute, tokens=40), 16) == list(range(16))
    assert "A batch of 8 texts (40 tokens) exhausts the memory; it is halved." in caplog.text
    # the second batch of 8 is halved without another attempt at a size that is known to fail
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("workers", [2, 5])
def test_30_halves_are_computed_by_several_workers(workers: int) -> None:
    def compute(batch: list[int]) -> list[int]:
        if len(batch) > 3:
            raise MemoryError
        return batch

    assert in_order(in_batches([5] * 40, compute, tokens=40, workers=workers), 40) == list(range(40))


def test_a_batch_alone_is_computed_by_the_caller() -> None:
    found = in_batches([5] * 4, lambda _: threading.get_ident(), tokens=20, workers=2)
    assert [thread for _, thread in found] == [threading.get_ident()]


def test_30_one_text_that_exhausts_the_memory_is_named() -> None:
    def compute(batch: list[int]) -> list[int]:
        raise MemoryError

    with pytest.raises(BertieError, match="Text 1 alone, with its 7 tokens, exhausts the memory"):
        list(in_batches([3, 7], compute, tokens=8))


def test_other_errors_pass() -> None:
    assert not is_out_of_memory(RuntimeError("shapes differ"))

    def compute(batch: list[int]) -> list[int]:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(in_batches([3, 7], compute, tokens=8))


def test_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(batching, "can_divide_cores", lambda: True)
    assert cores_to_divide() == 4
    assert budget([100] * 200, "cpu", 384, 4) == Budget(1024, 4)
    assert budget([100] * 200, "cpu", 1024, 4) == Budget(384, 4)
    assert budget([100] * 200, "cpu", 384, 4, tokens=1200) == Budget(300, 4)
    assert budget([100] * 6, "cpu", 384, 4) == Budget(300, 2)  # two cores with three texts each
    assert budget([500], "cpu", 384, 4) == Budget(500, 1)
    assert budget([], "cpu", 384, 4) == Budget(1, 1)
    assert budget([100] * 200, "cuda", 384, 4) == Budget(batching.GPU_TOKENS, 2)
    assert budget([100] * 200, "mps", 384, 4).workers == 1
    monkeypatch.setattr(batching, "can_divide_cores", lambda: False)
    assert cores_to_divide() == 1
    assert budget([100] * 200, "cpu", 384, 1).workers == 1


def test_budgets_below_one_are_refused() -> None:
    for tokens, texts in ((0, None), (4, 0)):
        with pytest.raises(InputError, match="at least 1"):
            list(batches([1], tokens, texts))


def test_the_share_of_padding() -> None:
    assert padding_share([4, 2, 2, 2], texts=2) == pytest.approx(1 - 10 / 12)
    assert padding_share([4, 4]) == 0
    assert padding_share([]) == 0
