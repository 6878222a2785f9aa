"""All blocks of an encoder in one call: for short texts, calls from Python between the products would dominate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertie.errors import InputError
from bertie.kernels.arrays import Floats, check_cu_seqlens, check_float32, check_returned, empty
from bertie.kernels.attention import CuSeqlens
from bertie.kernels.gemm import GELU, RESIDUAL, PackedLinear
from bertie.kernels.library import BlockStruct, NormStruct


@dataclass(frozen=True, eq=False)
class Block:
    """A block's weights."""

    products: tuple[PackedLinear, ...]  # qkv (concatenated), attention output, intermediate, output
    norms: tuple[tuple[Floats, Floats, float], ...]  # weight, bias and epsilon after attention and at the end
    heads: tuple[int, int]  # their number and width
    activation: int = GELU  # its code, applied to the intermediate product


class PackedEncoder:
    """Blocks in the layout of encoder.h; keeps the arrays that it points to alive.

    Blocks have the same shapes, except that pruned ones may have fewer heads than the hidden width divided by theirs.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            _check(block, blocks[0])
        self.blocks, self.instruction_set = blocks, blocks[0].products[0].instruction_set
        self.width = blocks[0].products[0].in_features
        self._norms = [[tuple(map(np.ascontiguousarray, norm[:2])) for norm in block.norms] for block in blocks]
        self._structs = (BlockStruct * len(blocks))(*map(_struct, blocks, self._norms))

    def __call__(self, x: Floats, cu_seqlens: CuSeqlens, blocks: int | None = None, *, threads: int) -> Floats:
        """Return the output of the first ``blocks``, or of all, for ``x [T, D]``, the packed sequences."""
        x = np.ascontiguousarray(x)
        check_float32((self.width,), x)
        check_cu_seqlens(cu_seqlens)
        count, rows = len(self.blocks) if blocks is None else blocks, len(x)
        if count == 0:
            return x
        y = empty(rows, self.width)
        code = self.instruction_set.encoder(
            self._structs,
            count,
            x.ctypes.data,
            y.ctypes.data,
            cu_seqlens.ctypes.data,
            len(cu_seqlens) - 1,
            rows,
            threads,
        )
        check_returned(code, rows)
        return y


def _struct(block: Block, norms: Sequence[tuple[Floats, ...]]) -> BlockStruct:
    norm_structs = [
        NormStruct(weight.ctypes.data, bias.ctypes.data, norm[2])
        for (weight, bias), norm in zip(norms, block.norms, strict=True)
    ]
    return BlockStruct(*(each.struct for each in block.products), *norm_structs, *block.heads, block.activation)


def _check(block: Block, first: Block) -> None:
    inner, (hidden, wide) = block.heads[0] * block.heads[1], (each.out_features for each in first.products[1:3])
    shapes = [(each.in_features, each.out_features) for each in block.products]
    expected = [(hidden, 3 * inner), (inner, hidden), (hidden, wide), (wide, hidden)]
    if shapes != expected or inner > hidden or block.heads[1] != first.heads[1]:
        raise InputError(f"A block's products are {shapes} (in, out) and its heads {block.heads}; they do not fit.")
    if block.activation == RESIDUAL:
        raise InputError("RESIDUAL is not an activation; pass another code.")
    for norm in block.norms:
        check_float32((hidden,), *norm[:2])
