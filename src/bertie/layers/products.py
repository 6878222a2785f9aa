"""A linear layer's product and its gradients, with the current weights, by bertie's kernels or PyTorch's.

No packed copy of a weight outlives a product, so none is ever stale. Keeping one would save little: a training step's
two products with a weight need two layouts, and packing takes a few percent of a product of some hundred tokens.
"""

from functools import lru_cache

import torch
from torch import Tensor

from bertie.kernels import library
from bertie.kernels.cpu import chip
from bertie.kernels.gemm import matmul, weight_gradient
from bertie.zero_copy import as_array, as_tensor, parameter_as_array

# From this many rows on, packing included, bertie's kernels are reliably faster than MKL where it leaves instructions
# unused (benchmarks/products.py). With AMX 1.4 to 1.6 times for 256 to 4,096 rows of 384 to 1,536 numbers (210 GFLOP/s
# against 270 to 350), 0.8 times for 64. With AVX-512 against MKL's AVX2 code (MKL_ENABLE_INSTRUCTIONS=AVX2) 1.6 to 1.7
# times for 640 to 4,096 rows (75 to 82 against 110 to 144), 1.2 times for 32, and a step of a model of 6 layers and
# width 384 takes 1/1.5 of its time; processors that execute 512-bit vectors in two halves gain less. With the same
# instructions MKL is faster, by 1 to 7 % with AVX2 and 4 to 7 % with AVX-512 (a step with AVX2 takes 8 % longer).
MIN_PACKED_ROWS = 256


def packing_pays(x: Tensor) -> bool:
    """Whether bertie's kernels multiply these float32 rows faster. Nothing is timed, so that runs resume bitwise."""
    return mkl_is_slower() and x.numel() >= MIN_PACKED_ROWS * x.shape[-1] > 0


@lru_cache(maxsize=1)
def mkl_is_slower() -> bool:
    """Whether bertie's kernels use instructions that MKL does not: AMX, and AVX-512 on AMD processors."""
    best = library.best()
    return best is not None and (best.pack_slices is not None or (chip().amd and best.name.startswith("avx512")))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x weightᵀ + bias`` of plain tensors ``x [T, in]`` and ``weight [out, in]``, without autograd."""
    if _by_kernels(x):
        return packed_linear(x, weight, bias)
    return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `linear` by bertie's kernels: a row's result does not depend on the other rows."""
    best = library.best()
    assert best is not None
    added = None if bias is None else parameter_as_array(bias)
    arrays = as_array(x), parameter_as_array(weight).T
    return as_tensor(matmul(*arrays, best, added, threads=torch.get_num_threads())[0])


def input_gradient(dy: Tensor, weight: Tensor) -> Tensor:
    """Return ``dy weight`` of ``dy [T, out]``."""
    best = library.best()
    if best is None or not _by_kernels(dy):
        return dy @ weight
    arrays = as_array(dy), parameter_as_array(weight)
    return as_tensor(matmul(*arrays, best, threads=torch.get_num_threads())[0])


def parameter_gradients(dy: Tensor, x: Tensor, needs_bias: bool = False) -> tuple[Tensor, Tensor | None]:
    """Return ``dyᵀ x`` in float32, and on request the sum of the rows of ``dy``."""
    best, threads = library.best(), torch.get_num_threads()
    if best is not None and _by_kernels(dy):
        dweight, sums = matmul(as_array(dy.contiguous()).T, as_array(x), best, needs_sums=needs_bias, threads=threads)
        return as_tensor(dweight), None if sums is None else as_tensor(sums)
    dbias = dy.sum(0, dtype=torch.float32) if needs_bias else None
    if best is None or best.weight_gradient is None or dy.dtype != torch.bfloat16:
        return (dy.t() @ x).float(), dbias
    return as_tensor(weight_gradient(as_array(dy), as_array(x), best, threads=threads)), dbias


def _by_kernels(x: Tensor) -> bool:
    return x.dtype == torch.float32 and packing_pays(x)
