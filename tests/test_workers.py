"""Threads that compute a batch each: order, errors, and cores that stay as they were."""

import threading
from collections.abc import Iterator

import pytest
import torch

from bertie.workers import can_divide_cores, compute_each


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_items_come_with_their_answers_in_order(workers: int) -> None:
    assert list(compute_each(lambda item: item * item, range(9), workers)) == [(i, i * i) for i in range(9)]


def test_one_worker_is_the_caller() -> None:
    assert list(compute_each(lambda _: threading.get_ident(), [0], 1)) == [(0, threading.get_ident())]


def test_several_workers_compute_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    assert len(list(compute_each(lambda _: both.wait(), range(4), 2))) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_it(workers: int) -> None:
    begun: list[int] = []

    def compute(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    found = compute_each(compute, range(100), workers)
    with pytest.raises(ValueError, match="three"):
        list(found)
    assert len(begun) <= 3 + 2 * workers


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    found = compute_each(lambda item: item, items(), 2)
    assert next(found) == (0, 0)
    assert len(taken) <= 3
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bertie")]


@pytest.mark.skipif(not can_divide_cores(), reason="this PyTorch has no setting of a thread's cores")
def test_each_has_one_core_and_the_rest_of_the_program_keeps_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert list(compute_each(lambda _: torch.get_num_threads(), range(3), 2)) == [(0, 1), (1, 1), (2, 1)]
        assert torch.get_num_threads() == 2
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)
