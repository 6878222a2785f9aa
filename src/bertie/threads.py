"""Several batches at once: on a CPU, threads that each compute with one core, where one batch cannot fill them all.

A product shared by several cores makes them wait for each other at its end, and at every small operation between two
products. Cores with a batch each need no such waiting. For a GPU, one thread prepares while another waits.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from bertie.extras import loaded
from bertie.openmp import library_with

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_OF_A_THREAD = ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")
_here = threading.local()


def available_threads() -> int:
    """Return how many threads may compute for the caller: one where `compute_each` has given it a core of its own.

    Elsewhere as many as PyTorch takes if the program has loaded it, else as many as ``OMP_NUM_THREADS`` says, else one
    for each processor that this process may use.
    """
    if getattr(_here, "has_one_core", False):
        return 1
    torch = loaded("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # further numbers are of nested regions
    if stated.isdecimal() and int(stated):
        return int(stated)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_each(
    compute: Callable[[Item], Answer], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Answer]]:
    """Yield each item with what ``compute`` makes of it, in order; at most ``workers`` are computed at once.

    Items are taken as they are needed. With one worker everything runs in the caller's thread.
    """
    if workers < 2:
        for item in items:
            yield item, compute(item)
        return
    pool = ThreadPoolExecutor(workers, "bertie", initializer=_begin, initargs=(_settings_of_caller(),))
    running: list[tuple[Item, Future[Answer]]] = []
    try:
        for item in items:
            running.append((item, pool.submit(compute, item)))
            if len(running) > workers:
                first, future = running.pop(0)
                yield first, future.result()
        while running:
            first, future = running.pop(0)
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def computed_ahead(compute: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
    """Yield what ``compute`` makes of each item, in order; while the caller uses one, a thread computes the next."""
    source = iter(items)
    with ThreadPoolExecutor(1, "bertie") as pool:

        def begin() -> Future[Answer] | None:
            try:
                return pool.submit(compute, next(source))
            except StopIteration:
                return None
            except Exception as error:
                failed: Future[Answer] = Future()
                failed.set_exception(error)
                return failed

        current = begin()
        while current is not None:
            answer = current.result()
            current = begin()
            yield answer


def can_divide_cores() -> bool:
    """Whether threads can be held to a core each without touching the settings of the rest of the program."""
    return loaded("torch") is None or library_with(*_OF_A_THREAD) is not None


def _begin(take_over: Callable[[], None]) -> None:
    _here.has_one_core = True
    take_over()


def _settings_of_caller() -> Callable[[], None]:
    """Return what gives another thread the settings that PyTorch keeps for each thread, as they are in this one."""
    if loaded("torch") is None:
        return lambda: None
    import torch

    gradients = torch.is_grad_enabled()
    autocast = {kind: torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)}
    stream = torch.cuda.current_stream() if torch.cuda.is_initialized() else None

    def take_over() -> None:
        _hold_to_one_core()
        torch.set_grad_enabled(gradients)
        for kind, dtype in autocast.items():
            torch.set_autocast_enabled(kind, True)
            torch.set_autocast_dtype(kind, dtype)
        if stream is not None:
            torch.cuda.set_stream(stream)  # and its device

    return take_over


def _hold_to_one_core() -> None:
    """Have PyTorch compute with one core in the thread that calls this; its own setting is the whole process's."""
    import torch

    torch.get_num_threads()  # a thread takes over the process's setting at its first look
    library = library_with(*_OF_A_THREAD)
    if library is not None:
        library.omp_set_num_threads(1)
        library.MKL_Set_Num_Threads_Local(1)
