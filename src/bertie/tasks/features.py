"""What a task makes of its inputs before the model sees them: rows of ids without padding, and whose rows they are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from bertie.packing import Packed
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.rows import flat_ids

Array: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.int64]
# one entry a row or an input
Values: TypeAlias = Sequence[Any] | Array


class Labels(NamedTuple):
    """What a model is to learn: one entry of ``values`` for each input, each row or each token."""

    values: Array
    each: Literal["input", "row", "token"]


@dataclass(frozen=True, eq=False)
class Features:
    """R rows of T token ids in all, side by side in one array: a batch is slices of it.

    Most often an input is one row. Read in windows, or given as several choices, it is several rows, one after the
    other.

    Attributes:
        ids: ``[T]`` int64, special tokens included.
        types: ``[T]`` int64, the token types; None where all are 0.
        lengths: the number of tokens of each row.
        truncated: how many tokens of each of the N inputs no row holds.
        empty: whether an input has no token but the special ones.
        owners: ``[R]`` int64 in rising order, the input that each row belongs to; None: row ``i`` is input ``i``.
        encodings: each row with the places in the text that its tokens come from; None where no task needs it.
        owned: ``[T]`` bool: where windows share a token, one of them owns it; None: all tokens are their rows' own.
        parts: ``[R]`` int64, rising within an input: which part of it (a choice, a text of several) a row belongs to;
            None where inputs have no parts.
        labels: what is to be learned; None while answers are wanted.
    """

    ids: Integers
    types: Integers | None
    lengths: list[int]
    truncated: list[int]
    empty: list[bool]
    owners: Integers | None = None
    encodings: Sequence[Encoding] | None = None
    owned: Array | None = None
    parts: Integers | None = None
    labels: Labels | None = None

    @classmethod
    def from_rows(cls, rows: Iterable[Encoding]) -> "Features":
        """Return the features of rows as bertie's tokenizers make them, one an input."""
        return cls(*flat_ids(rows))

    @classmethod
    def from_lists(
        cls, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]], truncated: list[int], empty: list[bool]
    ) -> "Features":
        """Return the features of inputs that came as one list of ids, and of types, each."""
        flat, flat_types = (np.array([value for row in rows for value in row], np.int64) for rows in (ids, types))
        return cls(flat, flat_types, list(map(len, ids)), truncated, empty)

    @classmethod
    def from_groups(
        cls,
        groups: Sequence[Sequence[Encoding]],
        truncated: list[int],
        empty: list[bool],
        owned: Array | None = None,
    ) -> "Features":
        """Return the features of inputs that are one or several rows each, with their encodings."""
        rows = [row for group in groups for row in group]
        ids, types, lengths, *_ = flat_ids(rows)
        owners = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        return cls(ids, types, lengths, truncated, empty, None if len(rows) == len(groups) else owners, rows, owned)

    @classmethod
    def joined(cls, parts: "Sequence[Features]") -> "Features":
        """Return the features of all parts' inputs, one after the other; encodings are left out."""
        firsts = [0, *accumulate(part.num_inputs for part in parts)]
        owners = [start + part.owner_of_rows for start, part in zip(firsts, parts, strict=False)]
        types = [np.zeros_like(part.ids) if part.types is None else part.types for part in parts]
        labels = [part.labels for part in parts if part.labels is not None]
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            types=None if all(part.types is None for part in parts) else np.concatenate(types),
            lengths=[length for part in parts for length in part.lengths],
            truncated=[cut for part in parts for cut in part.truncated],
            empty=[empty for part in parts for empty in part.empty],
            owners=None if all(part.owners is None for part in parts) else np.concatenate(owners),
            owned=_joined([part.owned for part in parts]),
            parts=_joined([part.parts for part in parts]),
            labels=Labels(np.concatenate([each.values for each in labels]), labels[0].each) if labels else None,
        )

    @property
    def owner_of_rows(self) -> Integers:
        """``[R]`` int64, the input that each row belongs to."""
        return np.arange(len(self.lengths)) if self.owners is None else self.owners

    @property
    def num_inputs(self) -> int:
        """N, the number of inputs."""
        return len(self.truncated)

    @property
    def input_ids(self) -> list[list[int]]:
        """One list of ids a row, made anew each time."""
        return [self.ids[start:stop].tolist() for start, stop in self._spans]

    def owner(self, row: int) -> int:
        """Return the input that a row belongs to."""
        return row if self.owners is None else int(self.owners[row])

    def groups(self) -> list[range]:
        """Return the rows of each input."""
        if self.owners is None:
            return [range(row, row + 1) for row in range(len(self.lengths))]
        return [range(start, stop) for start, stop in pairwise(self.first_rows.tolist())]

    def by_row(self, values: Array) -> list[Array]:
        """Return ``values [T, ...]`` as one part a row."""
        return np.split(values, np.cumsum(self.lengths)[:-1])

    def sizes(self) -> list[int]:
        """Return the number of tokens of each input, in all its rows."""
        if self.owners is None:
            return self.lengths
        return np.bincount(self.owners, self.lengths, self.num_inputs).astype(int).tolist()

    def with_labels(self, values: Array, each: Literal["input", "row", "token"] = "input") -> "Features":
        """Return the same features with what is to be learned of them."""
        return replace(self, labels=Labels(values, each))

    def of_inputs(self, inputs: Sequence[int]) -> "Features":
        """Return the features of the inputs with these numbers, all their rows, in this order."""
        if self.owners is None:
            return self.select(inputs)
        firsts = self.first_rows
        rows = [row for number in inputs for row in range(firsts[number], firsts[number + 1])]
        part = self._select_rows(rows)
        owners = np.repeat(np.arange(len(inputs)), np.diff(firsts)[np.asarray(inputs, np.int64)])
        return replace(part, owners=owners, **self._of(inputs))

    def select(self, rows: Sequence[int]) -> "Features":
        """Return the features of the rows with these numbers, in this order; rows of an input need not be complete.

        Each row is an input of its own in what comes back.
        """
        if self.owners is None and list(rows) == list(range(len(self.lengths))):
            return self
        owners = rows if self.owners is None else self.owners[list(rows)].tolist()
        return replace(self._select_rows(rows), owners=None, **self._of(owners))

    def packed(self, device: torch.device | str | None = None) -> Packed:
        """Return the rows as one packed batch on ``device``."""
        return Packed.from_flat(self.ids, self.lengths, self.types, device=device)

    def _of(self, inputs: Sequence[int]) -> dict[str, Any]:
        """Return the fields that have an entry an input, for these inputs."""
        found: dict[str, Any] = {
            "truncated": [self.truncated[number] for number in inputs],
            "empty": [self.empty[number] for number in inputs],
        }
        if self.labels is not None and self.labels.each == "input":
            found["labels"] = self.labels._replace(values=self.labels.values[list(inputs)])
        return found

    def _select_rows(self, rows: Sequence[int]) -> "Features":
        """Return these rows; what has an entry an input is left as it is."""
        slices = [slice(*self._spans[row]) for row in rows]

        def cut(values: Array) -> Array:
            return np.concatenate([values[:0], *map(values.__getitem__, slices)])

        labels = self.labels
        if labels is not None and labels.each != "input":
            values = cut(labels.values) if labels.each == "token" else labels.values[list(rows)]
            labels = labels._replace(values=values)
        return replace(
            self,
            ids=cut(self.ids),
            types=None if self.types is None else cut(self.types),
            lengths=[self.lengths[row] for row in rows],
            owned=None if self.owned is None else cut(self.owned),
            parts=None if self.parts is None else self.parts[list(rows)],
            encodings=None if self.encodings is None else [self.encodings[row] for row in rows],
            labels=labels,
        )

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return list(pairwise(accumulate(self.lengths, initial=0)))

    @cached_property
    def first_rows(self) -> Integers:
        """``[N + 1]``: where each input's rows begin, and where the last ones end."""
        return np.searchsorted(self.owner_of_rows, np.arange(self.num_inputs + 1))


def _joined(arrays: Sequence[Array | None]) -> Array | None:
    """Return arrays one after the other; None if there are none."""
    known = [array for array in arrays if array is not None]
    return np.concatenate(known) if known else None
