"""Embedding tables on a CPU: the rows that texts have met are updated, the others only decay, which is exact and cheap.

A row that never had a gradient has moments of zero: AdamW does nothing to it but weight decay. Rows that had one lie
side by side in memory of their own, are updated there as a small matrix, and are copied back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Smaller tables are not worth the indirection.
FEWEST_ROWS = 4096


def tables(model: nn.Module) -> dict[str, nn.Embedding]:
    """Return the large embeddings that learn by lookup alone, by the name of their weight.

    One that is also a decoder's weight has gradients in all rows, and stays as it is.
    """
    names: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)] = names.get(id(parameter), 0) + 1
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if type(module) is nn.Embedding
        and module.weight.requires_grad
        and len(module.weight) >= FEWEST_ROWS
        and names[id(module.weight)] == 1
        and module.max_norm is None
        and not module.scale_grad_by_freq
    }


@contextmanager
def by_rows(embeddings: Mapping[str, nn.Embedding]) -> Iterator[None]:
    """Have these modules give sparse gradients within the block."""
    before = {name: module.sparse for name, module in embeddings.items()}
    try:
        for module in embeddings.values():
            module.sparse = True
        yield
    finally:
        for name, module in embeddings.items():
            module.sparse = before[name]


class Rows:
    """The rows of ``table [V, D]`` that ever had a gradient: values and moments ``[count, D]``, in order of arrival.

    Once they are more than half of all, they are the whole table, in its own order.
    """

    def __init__(self, table: Tensor) -> None:
        self._table = table.detach()
        # memory that nothing is written to is not taken: the reserve for all rows costs nothing
        self._values, self._exp_avg, self._exp_avg_sq = (torch.empty_like(self._table) for _ in range(3))
        self._places = torch.full((len(table),), -1)  # of each row of the table, among those that had a gradient
        self._rows = torch.empty(0, dtype=torch.int64)
        self._is_whole = False

    @property
    def state(self) -> tuple[Tensor, Tensor, Tensor]:
        """Values and both moments of the rows, each ``[count, D]``, to be updated in place."""
        count = len(self._rows)
        return self._values[:count], self._exp_avg[:count], self._exp_avg_sq[:count]

    @property
    def rows(self) -> Tensor:
        """``[count]`` int64, which rows they are."""
        return self._rows

    def gather(self, gradient: Tensor) -> Tensor:
        """Return the table's gradient for its rows here, ``[count, D]``, after taking in rows that are new."""
        if gradient.layout is not torch.sparse_coo:  # something else has used the table: all rows have a gradient
            self._take_all()
            return gradient
        index, values = gradient._indices()[0], gradient._values()
        new = index[self._places[index] < 0].unique()
        if len(new):
            self._take(new)
        return values.new_zeros(len(self._rows), values.shape[1]).index_add_(0, self._places[index], values)

    def scatter(self, decay: float) -> None:
        """Copy updated rows back into the table, whose other rows are multiplied by ``decay``."""
        if self._is_whole:
            return
        if decay != 1.0:
            self._table.mul_(decay)
        self._table.index_copy_(0, self._rows, self._values[: len(self._rows)])

    def load(self, rows: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor) -> None:
        """Continue with these rows and moments; their values are those of the table."""
        if len(rows) == len(self._table):
            self._take_all()
        else:
            self._take(rows)
        self.state[1].copy_(exp_avg)
        self.state[2].copy_(exp_avg_sq)

    def _take(self, new: Tensor) -> None:
        start, end = len(self._rows), len(self._rows) + len(new)
        if 2 * end > len(self._table):
            self._take_all()
            return
        self._rows = torch.cat([self._rows, new])
        self._places[new] = torch.arange(start, end)
        self._values[start:end] = self._table[new]
        self._exp_avg[start:end] = 0
        self._exp_avg_sq[start:end] = 0

    def _take_all(self) -> None:
        if self._is_whole:
            return
        moments = self.state[1:]
        self._exp_avg, self._exp_avg_sq = (
            torch.zeros_like(self._table).index_copy_(0, self._rows, moment) for moment in moments
        )
        self._values, self._is_whole = self._table, True
        self._rows = self._places = torch.arange(len(self._table))
