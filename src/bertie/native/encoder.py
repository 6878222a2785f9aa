"""All blocks of an encoder in one call: between two products of a short text, calls from Python would take the time."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bertie.memory import large_pages
from bertie.native.attention import check_floats, check_starts, wrong_texts
from bertie.native.layout import BlockLayout, NormLayout, ProductLayout, Scratch
from bertie.native.products import Int8Panels, Panels


@dataclass(frozen=True, eq=False)
class Block:
    """A block's weights: four products, and the weight, bias and epsilon of two normalisations.

    ``heads`` says how many there are and how wide; the first product gives queries, keys and values side by side, the
    third is followed by the erf GELU.
    """

    products: tuple[Panels | Int8Panels, ...]
    norms: tuple[tuple[Tensor, Tensor, float], ...]
    heads: tuple[int, int]


class Encoder:
    """Blocks as encoder.h lays them out; it keeps what they are made of.

    Args:
        blocks: all of one instruction set, and of one width.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks, self.functions = blocks, blocks[0].products[0].functions
        self.width = blocks[0].products[0].depth
        self.widest = max(each.columns for each in blocks[0].products[2:])
        self.memory = _moved_to_large_pages(list(dict.fromkeys(each for block in blocks for each in block.products)))
        self.laid_out = (BlockLayout * len(blocks))(*map(_block, blocks))

    def __call__(self, x: Tensor, starts: Tensor, longest: int, blocks: int | None = None) -> Tensor:
        """Return what the first ``blocks``, or all, make of ``x [T, D]``, float32 on the CPU.

        Args:
            x: the hidden states of all texts, one after the other.
            starts: int32 ``[B + 1]``, where each text begins and the last ends.
            longest: the most tokens of a text.
            blocks: how many to compute.

        Raises:
            InputError: the texts are not ``x`` exactly, or ``x`` is of another width or kind.
        """
        x = x.contiguous()
        check_floats((self.width,), x)
        check_starts(starts)
        count, rows, threads = len(self.blocks) if blocks is None else blocks, len(x), torch.get_num_threads()
        if count == 0:
            return x
        y, scratch, memory = torch.empty_like(x), Scratch(), []

        def room(name: str, numbers: int, dtype: torch.dtype = torch.float32) -> None:
            memory.append(x.new_empty(numbers, dtype=dtype))
            setattr(scratch, name, memory[-1].data_ptr())

        room("projections", rows * 3 * self.width)
        room("context", rows * self.width)
        room("attended", rows * self.width)
        room("wide", rows * self.widest)
        room("row_scales", rows)
        room("q", rows * (self.widest + 3), torch.uint8)
        scratch.each = self.functions.attention_scratch(longest, self.blocks[0].heads[1])
        room("attention", threads * scratch.each)
        refused = self.functions.encoder(
            self.laid_out,
            count,
            x.data_ptr(),
            y.data_ptr(),
            starts.data_ptr(),
            len(starts) - 1,
            rows,
            ctypes.byref(scratch),
            threads,
        )
        if refused:
            raise wrong_texts(rows, longest)
        return y


def _moved_to_large_pages(products: Sequence[Panels | Int8Panels]) -> Tensor:
    """Return one piece of memory in which all panels lie from now on, each from a line of the cache on."""
    sizes = [each.panels.nbytes + -each.panels.nbytes % 64 for each in products]
    memory = torch.from_numpy(large_pages(sum(sizes)))
    for each, room in zip(products, memory.split(sizes), strict=True):
        moved = room[: each.panels.nbytes].view(each.panels.dtype).view(each.panels.shape)
        moved.copy_(each.panels)
        each.panels = moved  # only now: other threads compute with these panels
    return memory


def _block(block: Block) -> BlockLayout:
    norms = [NormLayout(weight.data_ptr(), bias.data_ptr(), eps) for weight, bias, eps in block.norms]
    return BlockLayout(*map(_product, block.products), *norms, *block.heads)


def _product(panels: Panels | Int8Panels) -> ProductLayout:
    found = ProductLayout(panels=panels.panels.data_ptr(), bias=panels.bias.data_ptr())
    found.depth, found.columns = panels.depth, panels.columns
    if isinstance(panels, Int8Panels):
        how = panels.rounding
        found.is_int8, found.scale, found.shift = True, panels.scale.data_ptr(), panels.shift.data_ptr()
        found.smooth = None if how.smooth is None else how.smooth.data_ptr()
        found.step, found.at_least = how.scale, how.at_least
        found.zero_point, found.one_sided = how.zero_point, how.one_sided
    return found
