"""Run by test_kernels.py with kernels that were compiled with sanitizers: shapes drawn by a seed, printed before use.

python kernel_shapes.py CASES SEED
"""

import random
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.native import encoder as encoders
from bertie.native import library, products
from bertie.native.attention import Texts, attention, attention_to_train
from bertie.native.dropout import dropout
from bertie.native.encoder import Block, Encoder
from bertie.native.products import GELU, NOTHING, RESIDUAL, Int8Panels, Panels, Rounding

Draw = random.Random


def rooms(size: int) -> Tensor:
    """Memory that the sanitizer watches, in the place of pages from the system."""
    return torch.empty(size, dtype=torch.uint8)


products.own_pages = encoders.large_pages = rooms


def lengths(draw: Draw, most: int = 40) -> list[int]:
    return [draw.choice((0, 1, draw.randint(1, most))) for _ in range(draw.randint(1, 5))]


def texts(sizes: list[int]) -> Texts:
    return Texts(torch.tensor([0, *sizes]).cumsum(0).int(), max(sizes))


def attend(functions: library.InstructionSet, draw: Draw) -> None:
    queries, heads, width = lengths(draw), draw.randint(1, 3), draw.randint(1, 70)
    keys = queries if draw.random() < 0.5 else [draw.randint(0, 40) for _ in queries]
    dropped = draw.choice((0.0, 0.3))
    print("attention", functions.name, queries, keys, heads, width, dropped, flush=True)
    q = torch.randn(sum(queries), heads, width, requires_grad=True)
    k, v = torch.randn(sum(keys), 2, heads, width).unbind(1)  # rows that lie apart
    attention(q.detach(), k, v, texts(queries), texts(keys), functions)
    attention_to_train(q, k, v, texts(queries), texts(keys), functions, dropped).sum().backward()


def multiply(functions: library.InstructionSet, draw: Draw) -> None:
    rows, depth, columns = draw.randint(0, 60), draw.randint(1, 130), draw.randint(1, 130)
    after = draw.choice((NOTHING, GELU, RESIDUAL))
    is_int8 = functions.int8_product is not None and draw.random() < 0.5
    print("product", functions.name, rows, depth, columns, after, is_int8, flush=True)
    panels = int8(functions, draw, columns, depth) if is_int8 else floats(functions, columns, depth)
    x, residual = torch.randn(rows, depth), torch.randn(rows, columns) if after == RESIDUAL else None
    panels(x, after, residual)


def floats(functions: library.InstructionSet, columns: int, depth: int) -> Panels:
    return Panels(torch.randn(columns, depth), torch.randn(columns), functions)


def int8(functions: library.InstructionSet, draw: Draw, columns: int, depth: int) -> Int8Panels:
    weight = torch.randint(-127, 128, (columns, depth), dtype=torch.int8)
    smooth = torch.rand(depth) + 0.5 if draw.random() < 0.5 else None
    how = Rounding(1 / 100, draw.choice((0, 128)), draw.random() < 0.5, 1e-6, smooth)
    return Int8Panels(weight, torch.rand(columns), torch.randn(columns), how, functions)


def encode(functions: library.InstructionSet, draw: Draw) -> None:
    sizes, heads, width, wide = lengths(draw, 70), draw.randint(1, 3), draw.randint(1, 40), draw.randint(1, 130)
    is_int8 = functions.int8_product is not None and draw.random() < 0.5
    print("encoder", functions.name, sizes, heads, width, wide, is_int8, flush=True)
    hidden = heads * width
    norm = (torch.ones(hidden), torch.zeros(hidden), 1e-12)
    shapes = ((3 * hidden, hidden), (hidden, hidden), (wide, hidden), (hidden, wide))

    def block() -> Block:
        made = (int8(functions, draw, *shape) if is_int8 else floats(functions, *shape) for shape in shapes)
        return Block(tuple(made), (norm, norm), (heads, width))

    found = texts(sizes)
    Encoder([block(), block()])(torch.randn(sum(sizes), hidden), found.starts, found.longest)


def drop(functions: library.InstructionSet, draw: Draw) -> None:
    size = draw.randint(0, 300)
    print("dropout", functions.name, size, flush=True)
    x = torch.randn(size, requires_grad=True)
    dropout(x, 0.2, functions).sum().backward()


def main(cases: int, seed: int) -> None:
    draw = Draw(seed)
    torch.manual_seed(seed)
    F.gelu(torch.randn(2))
    sets = library.instruction_sets()
    assert sets, library.why_none()
    for number in range(cases):
        torch.set_num_threads(draw.choice((1, 2)))
        draw.choice((attend, attend, multiply, multiply, encode, drop))(sets[number % len(sets)], draw)
    print("all", cases, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
