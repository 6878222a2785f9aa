"""A linear layer's product and both gradients in float32: bertie's kernels and PyTorch's, in GFLOP/s.

One thread, processor time, in turn, best of all rounds (load on the machine only slows a round down). The last column
is the sum of PyTorch's three times divided by bertie's. MKL_ENABLE_INSTRUCTIONS=AVX2 makes MKL run the code on Intel
chips that it runs on AMD's.

[MKL_ENABLE_INSTRUCTIONS=AVX2] python benchmarks/products.py [--instruction-set avx2] [--tokens 640 4096] [--rounds 15]
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from bertie.kernels import library
from bertie.kernels.gemm import matmul

SHAPES = (384, 1152), (384, 384), (384, 1536), (1536, 384)  # of a block of width 384: inputs and outputs


def main() -> None:
    sets = {each.name: each for each in library.instruction_sets()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instruction-set", choices=[*sets], default=next(iter(sets)))
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 256, 640, 4096])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'tokens':>6} {'in':>5} {'out':>5}", *(f"{name:>18}" for name in ("x Wᵀ", "dy W", "dyᵀ x")), "  ratio")
    for tokens in given.tokens:
        for depth, columns in SHAPES:
            times = [_best(*pair, given.rounds) for pair in _pairs(tokens, depth, columns, sets[given.instruction_set])]
            work = 2e-9 * tokens * depth * columns
            rates = (f"{work / theirs:7.0f} beside {work / ours:3.0f}" for ours, theirs in times)
            ratio = sum(theirs for _, theirs in times) / sum(ours for ours, _ in times)
            print(f"{tokens:6} {depth:5} {columns:5}", *rates, f"  {ratio:.2f}", flush=True)


def _pairs(
    tokens: int, depth: int, columns: int, functions: library.InstructionSet
) -> list[tuple[Callable[[], object], Callable[[], object]]]:
    """Return bertie's and PyTorch's function for each of the three products."""
    x, weight, dy = torch.randn(tokens, depth), torch.randn(columns, depth), torch.randn(tokens, columns)
    return [_pair(a, b, functions) for a, b in ((x, weight.T), (dy, weight), (dy.T, x))]


def _pair(a: Tensor, b: Tensor, functions: library.InstructionSet) -> tuple[Callable[[], object], Callable[[], object]]:
    left, right = a.numpy(), b.numpy()
    return lambda: matmul(left, right, functions, threads=1), lambda: a @ b


def _best(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for way, found in zip((ours, theirs), times, strict=True):
            start = time.process_time()
            way()
            found.append(time.process_time() - start)
    return min(times[0]), min(times[1])


if __name__ == "__main__":
    main()
