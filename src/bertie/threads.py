"""Several batches at once: on a CPU, threads with one core each; for a GPU, a thread that prepares the next batch.

Cores that share a product wait for each other at its end, and at every small operation between products. Cores with a
batch each never wait.
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
# functions that set the number of threads for the calling thread alone
_THREAD_SETTERS = ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")
_current = threading.local()


def available_threads() -> int:
    """Return how many threads may compute for the caller: one in a worker of `compute_each`, which has its own core.

    Otherwise PyTorch's number of threads if the program has loaded it, else ``OMP_NUM_THREADS`` if set, else one for
    each processor that this process may use.
    """
    if getattr(_current, "has_one_core", False):
        return 1
    torch = loaded("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # the others are for nested regions
    if setting.isdecimal() and int(setting):
        return int(setting)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compute_each(
    compute: Callable[[Item], Answer], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Answer]]:
    """Yield each item with the result of ``compute``, in order; at most ``workers`` are computed at once.

    Items are consumed as needed. With one worker, everything runs in the caller's thread.
    """
    if workers < 2:
        for item in items:
            yield item, compute(item)
        return
    pool = ThreadPoolExecutor(workers, "bertie", initializer=_start_worker, initargs=(_caller_settings(),))
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
    """Yield the result of ``compute`` for each item, in order; a thread computes the next while the caller uses one."""
    source = iter(items)
    with ThreadPoolExecutor(1, "bertie") as pool:

        def submit_next() -> Future[Answer] | None:
            try:
                return pool.submit(compute, next(source))
            except StopIteration:
                return None
            except Exception as error:
                failed: Future[Answer] = Future()
                failed.set_exception(error)
                return failed

        current = submit_next()
        while current is not None:
            answer = current.result()
            current = submit_next()
            yield answer


def can_divide_cores() -> bool:
    """Whether threads can be limited to a core each without changing settings of the rest of the program."""
    return loaded("torch") is None or library_with(*_THREAD_SETTERS) is not None


def _start_worker(apply_settings: Callable[[], None]) -> None:
    _current.has_one_core = True
    apply_settings()


def _caller_settings() -> Callable[[], None]:
    """Return a function that applies this thread's PyTorch settings to the thread that calls it."""
    if loaded("torch") is None:
        return lambda: None
    import torch

    gradients = torch.is_grad_enabled()
    autocast = {kind: torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)}
    stream = torch.cuda.current_stream() if torch.cuda.is_initialized() else None

    def apply() -> None:
        _limit_to_one_core()
        torch.set_grad_enabled(gradients)
        for kind, dtype in autocast.items():
            torch.set_autocast_enabled(kind, True)
            torch.set_autocast_dtype(kind, dtype)
        if stream is not None:
            torch.cuda.set_stream(stream)  # and its device

    return apply


def _limit_to_one_core() -> None:
    """Make PyTorch use one core in the calling thread; ``torch.set_num_threads`` would change the whole process."""
    import torch

    torch.get_num_threads()  # a thread's first call adopts the process's setting, so it must come before ours
    library = library_with(*_THREAD_SETTERS)
    if library is not None:
        library.omp_set_num_threads(1)
        library.MKL_Set_Num_Threads_Local(1)
