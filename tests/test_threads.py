"""Threads that compute a batch each: order, errors, and unchanged settings of other threads."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from bertie.threads import available_threads, can_divide_cores, compute_each, computed_ahead


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_items_come_with_their_answers_in_order(workers: int) -> None:
    assert list(compute_each(lambda item: item * item, range(9), workers)) == [(i, i * i) for i in range(9)]


def test_one_worker_runs_in_the_callers_thread() -> None:
    assert list(compute_each(lambda _: threading.get_ident(), [0], 1)) == [(0, threading.get_ident())]


def test_several_workers_compute_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    assert len(list(compute_each(lambda _: both.wait(), range(4), 2))) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_the_iteration(workers: int) -> None:
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


def test_items_are_consumed_as_needed() -> None:
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
def test_workers_have_one_core_and_other_threads_keep_theirs() -> None:
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


def test_pytorchs_threads_and_one_in_a_worker() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert available_threads() == 3
        assert [count for _, count in compute_each(lambda _: available_threads(), range(3), 2)] == [1, 1, 1]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("stated", "count"), [("3", "3"), ("5,2", "5"), ("", "all"), ("0", "all"), ("many", "all"), (None, "all")]
)
def test_omp_num_threads_without_pytorch(stated: str | None, count: str) -> None:
    program = """
import os, sys
from bertie.threads import available_threads, compute_each
inside = {number for _, number in compute_each(lambda _: available_threads(), range(3), 2)}
assert inside == {1} and "torch" not in sys.modules
every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
assert available_threads() == (every if sys.argv[1] == "all" else int(sys.argv[1])), available_threads()
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if stated is None else {"OMP_NUM_THREADS": stated}
    subprocess.run([sys.executable, "-c", program, count], env=environment, check=True)


def test_threads_have_the_settings_of_the_caller() -> None:
    def settings(_: int) -> tuple[bool, bool, torch.dtype]:
        return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    with torch.no_grad(), torch.autocast("cpu", torch.float16):
        inside = list(compute_each(settings, range(3), 2))
    assert inside == [(number, (False, True, torch.float16)) for number in range(3)]
    assert list(compute_each(settings, [0], 2)) == [(0, settings(0))]


def test_the_next_item_is_computed_ahead() -> None:
    computed, begun = [], threading.Event()

    def compute(item: int) -> int:
        computed.append(item)
        if item == 1:
            begun.set()
        return item * item

    found = computed_ahead(compute, range(5))
    assert next(found) == 0
    assert begun.wait(10)  # while the caller has the first
    assert computed == [0, 1]
    assert list(found) == [1, 4, 9, 16]
    assert list(computed_ahead(compute, [])) == []


def test_nothing_remains_after_an_early_exit() -> None:
    found = computed_ahead(lambda item: item, range(5))
    next(found)
    found.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bertie")]


def test_errors_are_raised_in_order() -> None:
    def items() -> Iterator[int]:
        yield from (1, 0)
        raise ValueError("no more")

    found = computed_ahead(lambda item: 1 // item, items())
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)
    found = computed_ahead(lambda item: item, items())
    assert [next(found), next(found)] == [1, 0]
    with pytest.raises(ValueError, match="no more"):
        next(found)
