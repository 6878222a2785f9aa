"""Run by test_kernels.py with kernels that were compiled with sanitizers: shapes drawn by a seed, printed before use.

python kernel_shapes.py CASES SEED
"""

import random
import sys

import numpy as np
import torch

from bertie.attention.native import attention_autograd
from bertie.dropout import hashed_dropout
from bertie.kernels import library
from bertie.kernels.activations import ACTIVATION_CODES, bias_gelu, bias_gelu_backward
from bertie.kernels.attention import attention
from bertie.kernels.cross_entropy import cross_entropy, cross_entropy_backward
from bertie.kernels.dropout import dropout_params
from bertie.kernels.embeddings import PackedEmbeddings
from bertie.kernels.encoder import Block, PackedEncoder
from bertie.kernels.gemm import GELU, NONE, RESIDUAL, PackedWeight, matmul, weight_gradient
from bertie.kernels.gemm_int8 import Int8PackedWeight, params_8_bits, params_16_bits
from bertie.kernels.normalization import residual_norm, residual_norm_backward
from bertie.zero_copy import as_array

Draw = random.Random
# memory that the sanitizer watches, in the place of pages from the system


def allocated(size: int) -> np.ndarray:
    return np.empty(size, np.uint8)


NUMBERS = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return NUMBERS.standard_normal(shape, np.float32)


def lengths(draw: Draw, most: int = 40) -> list[int]:
    return [draw.choice((0, 1, draw.randint(1, most))) for _ in range(draw.randint(1, 5))]


def cu_seqlens(sizes: list[int]) -> np.ndarray:
    return np.cumsum([0, *sizes], dtype=np.int32)


def attend(functions: library.InstructionSet, draw: Draw) -> None:
    most = draw.choice((40, 230))  # tiles are for long texts
    queries, heads, width = lengths(draw, most), draw.randint(1, 3), draw.choice((draw.randint(1, 70), 32, 64))
    keys = queries if draw.random() < 0.5 else [draw.randint(0, most) for _ in queries]
    dropped = draw.choice((0.0, 0.3))
    print("attention", functions.name, queries, keys, heads, width, dropped, flush=True)
    dtype = draw.choice((torch.float32, torch.bfloat16))
    q = torch.randn(sum(queries), heads, width).to(dtype).requires_grad_()
    k, v = torch.randn(sum(keys), 2, heads, width).to(dtype).unbind(1)  # rows that lie apart
    starts = cu_seqlens(queries), cu_seqlens(keys)
    approximate, threads = draw.choice((True, False)), draw.choice((1, 2))
    attention(*map(as_array, (q, k, v)), *starts, functions, approximate=approximate, threads=threads)
    attention_autograd(q, k, v, *map(torch.from_numpy, starts), functions, dropped).sum().backward()


def multiply(functions: library.InstructionSet, draw: Draw) -> None:
    depth = draw.choice((draw.randint(1, 130), 64, 128))  # tiles divide the last two
    rows, columns = draw.choice((draw.randint(0, 60), 200)), draw.randint(1, 130)  # 192 rows are sliced at a time
    after = draw.choice((NONE, GELU, RESIDUAL, draw.choice(list(ACTIVATION_CODES.values()))))
    is_int8 = draw.random() < 0.5
    print("product", functions.name, rows, depth, columns, after, is_int8, flush=True)
    layer = int8(functions, draw, columns, depth) if is_int8 else packed(functions, columns, depth)
    layer(floats(rows, depth), after, floats(rows, columns) if after == RESIDUAL else None, threads=draw.choice((1, 2)))


def multiply_unpacked(functions: library.InstructionSet, draw: Draw) -> None:
    rows, depth, columns = draw.randint(0, 60), draw.randint(1, 130), draw.randint(1, 130)
    has_bias = draw.random() < 0.5
    print("unpacked product", functions.name, rows, depth, columns, has_bias, flush=True)
    arrays = floats(columns, depth), floats(columns), floats(rows, depth), floats(rows, columns)
    weight, bias, x, y = (each.ctypes.data for each in arrays)
    functions.linear_unpacked(weight, bias if has_bias else None, x, y, rows, depth, columns, draw.choice((1, 2)))


def multiply_as_they_lie(functions: library.InstructionSet, draw: Draw) -> None:
    rows, depth, columns = (draw.choice((draw.randint(0, 60), draw.randint(380, 520))) for _ in range(3))
    is_transposed = draw.choice((True, False)), draw.choice((True, False))
    print("matmul", functions.name, rows, depth, columns, is_transposed, flush=True)
    a = floats(depth, rows).T if is_transposed[0] else floats(rows, depth)
    b = floats(columns, depth).T if is_transposed[1] else floats(depth, columns)
    bias, needs_sums = draw.choice((None, floats(columns))), a.strides[0] == a.itemsize
    matmul(a, b, functions, bias, needs_sums=needs_sums, threads=draw.choice((1, 2)))


def packed(functions: library.InstructionSet, columns: int, depth: int) -> PackedWeight:
    return PackedWeight(floats(columns, depth), floats(columns), functions, allocated)


def int8(functions: library.InstructionSet, draw: Draw, columns: int, depth: int) -> Int8PackedWeight:
    weight = NUMBERS.integers(-127, 128, (columns, depth), np.int8)
    smooth = abs(floats(depth)) + 0.5 if draw.random() < 0.5 else None
    of_bytes = functions.multiplies_bytes and draw.random() < 0.5
    how = params_8_bits(smooth) if of_bytes else params_16_bits(weight, smooth)
    return Int8PackedWeight(weight, abs(floats(columns)), floats(columns), how, functions, allocated)


def encode(functions: library.InstructionSet, draw: Draw) -> None:
    sizes, heads, wide = lengths(draw, draw.choice((70, 230))), draw.randint(1, 3), draw.randint(1, 130)
    width = draw.choice((draw.randint(1, 40), 32))  # tiles of long texts' attention divide 32
    is_int8 = draw.random() < 0.5
    print("encoder", functions.name, sizes, heads, width, wide, is_int8, flush=True)
    hidden = heads * width
    norm = (floats(hidden), floats(hidden), 1e-12)
    shapes = ((3 * hidden, hidden), (hidden, hidden), (wide, hidden), (hidden, wide))

    def block() -> Block:
        made = (int8(functions, draw, *shape) if is_int8 else packed(functions, *shape) for shape in shapes)
        return Block(tuple(made), (norm, norm), (heads, width))

    x, threads = floats(sum(sizes), hidden), draw.choice((1, 2))
    PackedEncoder([block(), block()])(x, cu_seqlens(sizes), threads=threads)


def look_up(functions: library.InstructionSet, draw: Draw) -> None:
    tokens, width, is_int8 = draw.randint(0, 40), draw.randint(1, 130), draw.random() < 0.5
    print("embeddings", functions.name, tokens, width, is_int8, flush=True)
    words = NUMBERS.integers(-127, 128, (9, width), np.int8) if is_int8 else floats(9, width)
    norm, scale = (floats(width), floats(width), 1e-12), floats(9) if is_int8 else None
    embed = PackedEmbeddings(words, floats(2, width), floats(7, width), norm, functions, scale)
    words_at, types, places = (NUMBERS.integers(0, rows, tokens) for rows in (9, 2, 7))
    embed(words_at, draw.choice((types, None)), places, threads=draw.choice((1, 2)))


def drop(functions: library.InstructionSet, draw: Draw) -> None:
    size = draw.randint(0, 300)
    print("dropout", functions.name, size, flush=True)
    x = torch.randn(size, requires_grad=True)
    hashed_dropout(x, 0.2, functions).sum().backward()


def learn(functions: library.InstructionSet, draw: Draw) -> None:
    rows, columns, depth = draw.randint(0, 200), draw.randint(1, 130), draw.randint(1, 130)
    dtype, threads, dropped = draw.choice((torch.float32, torch.bfloat16)), draw.choice((1, 2)), draw.choice((0, 0.3))
    print("a step's kernels", functions.name, rows, columns, depth, dtype, dropped, flush=True)
    x, dy = (as_array(torch.randn(rows, columns).to(dtype)) for _ in range(2))
    bias, labels = floats(columns), NUMBERS.integers(0, columns, rows)
    bias_gelu(x, bias, functions, threads=threads)
    bias_gelu_backward(dy, x, bias, functions, threads=threads)
    params, norm = dropout_params(seed=1, p=dropped) if dropped else None, (bias, bias, 1e-12)
    made = residual_norm(x, bias, floats(rows, columns), norm, params, functions, threads=threads)
    is_half = dtype == torch.bfloat16
    residual_norm_backward(floats(rows, columns), made, norm, params, functions, is_half=is_half, threads=threads)
    losses, lse = cross_entropy(x, labels, functions, threads=threads)
    cross_entropy_backward(losses, x, labels, lse, functions, threads=threads)
    if functions.weight_gradient is not None and is_half:
        weight_gradient(dy, as_array(torch.randn(rows, depth).to(dtype)), functions, threads=threads)


PRODUCTS = multiply, multiply, multiply_unpacked, multiply_as_they_lie
KERNELS = *PRODUCTS, attend, attend, encode, look_up, drop, learn, learn


def main(cases: int, seed: int) -> None:
    draw = Draw(seed)
    torch.manual_seed(seed)
    sets = library.instruction_sets()
    assert sets, library.why_no_kernels()
    for number in range(cases):
        torch.set_num_threads(draw.choice((1, 2)))
        draw.choice(KERNELS)(sets[number % len(sets)], draw)
    print("all", cases, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
