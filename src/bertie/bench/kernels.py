"""The kernels of linear layers, timed on this very machine: what ``bertie bench --kernels`` prints and keeps."""

import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from bertie.layers.int8 import LARGEST, Int8Linear
from bertie.layers.kernels import KERNELS, PLAIN, Kernel, Weights
from bertie.layers.measured import measured_as

# (out, in) of the products of all-MiniLM and of BERT base
SIZES = ((1152, 384), (1536, 384), (384, 1536), (3072, 768), (768, 3072))
# a short query, and a batch
ROWS = (12, 512)
DTYPES = (torch.float32, torch.bfloat16, torch.int8)
_SECONDS = 0.05


class Timed(NamedTuple):
    """The GFLOP/s of a kernel over all sizes, with few rows and with many."""

    dtype: torch.dtype
    threads: int
    kernel: str
    few: float
    many: float


def time_kernels() -> list[Timed]:
    """Time every kernel that can compute each dtype here; integers' products count as floating-point ones.

    With one thread, as batches are computed that share the cores, and with all, as one batch is.
    """
    before, found = torch.get_num_threads(), []
    try:
        for threads in sorted({1, before}):
            torch.set_num_threads(threads)
            for dtype in DTYPES:
                for kernel in _able(dtype):
                    few, many = (_gflops(kernel, dtype, rows) for rows in ROWS)
                    found.append(Timed(dtype, threads, kernel.name, few, many))
    finally:
        torch.set_num_threads(before)
    return found


def fastest_of(timed: list[Timed]) -> dict[str, str]:
    """Return the name of the fastest kernel by batches, for each that `measured_as` tells apart."""
    return {measured_as(each.dtype, each.threads): each.kernel for each in sorted(timed, key=lambda each: each.many)}


def table(timed: list[Timed]) -> str:
    """Return the figures as a Markdown table."""
    head = f"| weights | threads | kernel | GFLOP/s, {ROWS[0]} rows | {ROWS[1]} rows |\n|---|---:|---|---:|---:|"
    lines = [
        f"| {each.dtype} | {each.threads} | {each.kernel} | {each.few:,.0f} | {each.many:,.0f} |" for each in timed
    ]
    return "\n".join([head, *lines])


def _able(dtype: torch.dtype) -> Iterator[Kernel]:
    for kernel in KERNELS:
        # int8 weights without a kernel are turned into floats at every call: nothing to compare
        if not kernel.why_not(Weights("cpu", dtype)) and not (dtype == torch.int8 and kernel is PLAIN):
            yield kernel


def _gflops(kernel: Kernel, dtype: torch.dtype, rows: int) -> float:
    work = seconds = 0.0
    with torch.inference_mode(False), torch.no_grad():
        for size in SIZES:
            module = _layer(size, dtype)
            x = torch.randn(rows, size[1], dtype=torch.float32 if dtype == torch.int8 else dtype)
            compute = module if kernel is PLAIN else kernel.prepare([module])
            seconds += _seconds(lambda compute=compute, x=x: compute(x))
            work += 2 * rows * size[0] * size[1]
    return work / seconds / 1e9


def _layer(size: tuple[int, int], dtype: torch.dtype) -> nn.Module:
    if dtype != torch.int8:
        return nn.Linear(size[1], size[0], dtype=dtype)
    layer = Int8Linear(size[1], size[0])
    layer.weight.random_(-LARGEST, LARGEST + 1)
    return layer


def _seconds(compute: Any) -> float:
    """Return the median time of a call, over calls that take `_SECONDS` together, after two that warm up."""
    times: list[float] = []
    for _ in range(2):
        compute()
    while sum(times) < _SECONDS or len(times) < 5:
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
