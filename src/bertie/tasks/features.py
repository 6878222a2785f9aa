"""A task's encoded inputs: rows of token ids without padding, and which input each row belongs to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bertie.config import IGNORED
from bertie.tasks.alignment import Group
from bertie.tasks.arrays import Array, Integers, ranges
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.rows import flat_ids

# one entry per row or per input
Values: TypeAlias = Sequence[Any] | Array
# what there is one entry of
Level: TypeAlias = Literal["input", "row", "token"]
# the name of the labels of a task that has only one kind
LABELS = "labels"


class Labels(NamedTuple):
    """What a model is to learn: ``values`` has one entry per input, per row or per token."""

    values: Array
    level: Level


@dataclass(frozen=True, eq=False)
class Features:
    """R rows of T token ids in total, concatenated into one array: a batch is slices of it.

    Usually an input is one row. If it is read in windows, or has several choices, it is several consecutive rows.
    """

    ids: Integers  # [T] int64, special tokens included
    types: Integers | None  # [T] int64, the token types; None if all are 0
    lengths: list[int]  # tokens of each row
    truncated: list[int]  # tokens cut off each of the N inputs, as far as they were counted
    empty: list[bool]  # whether an input has only special tokens
    owners: Integers | None = None  # [R] ascending, the input that each row belongs to; None: row i is input i
    encodings: Sequence[Encoding] | None = None  # one per row, with the offsets of its tokens in the text, if needed
    owned: Array | None = None  # [T] bool: of the windows that share a token, one owns it; None: rows own all tokens
    # [R] int64, ascending within an input: which part of it (a choice, one of several texts) a row belongs to
    parts: Integers | None = None
    labels: Mapping[str, Labels] = field(default_factory=dict)  # what to learn, by the name of its kind
    texts: Sequence[Any] | None = None  # each of the N inputs, as the task read it, if needed

    @classmethod
    def from_rows(cls, rows: Iterable[Encoding]) -> "Features":
        """Return the features of rows as bertie's tokenizers make them, one per input."""
        return cls(*flat_ids(rows))

    @classmethod
    def from_lists(
        cls, ids: Sequence[Sequence[int]], types: Sequence[Sequence[int]], truncated: list[int], empty: list[bool]
    ) -> "Features":
        """Return the features of inputs given as one list of ids and one of types each."""
        flat, flat_types = (np.array([value for row in rows for value in row], np.int64) for rows in (ids, types))
        return cls(flat, flat_types, list(map(len, ids)), truncated, empty)

    @classmethod
    def from_groups(
        cls,
        groups: Sequence[Sequence[Encoding]],
        truncated: list[int],
        owned: Array | None = None,
    ) -> "Features":
        """Return the features of inputs of one or more rows each, with their encodings."""
        rows = [row for group in groups for row in group]
        empty = [group[0].is_empty for group in groups]
        ids, types, lengths, *_ = flat_ids(rows)
        owners = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        return cls(ids, types, lengths, truncated, empty, None if len(rows) == len(groups) else owners, rows, owned)

    @classmethod
    def concatenate(cls, parts: "Sequence[Features]") -> "Features":
        """Return the features of all parts' inputs, in order."""
        firsts = accumulate((part.num_inputs for part in parts), initial=0)
        owners = [first + part.owner_of_rows for first, part in zip(firsts, parts, strict=False)]
        plain = ("ids", "lengths", "truncated", "empty", "encodings", "parts", "texts")
        labels = {name: [part.labels[name].values for part in parts] for name in parts[0].labels}
        return cls(
            **{name: _concatenate([getattr(part, name) for part in parts]) for name in plain},
            types=_concatenate_tokens(parts, "types", default=0),
            owned=_concatenate_tokens(parts, "owned", default=True),
            owners=None if all(part.owners is None for part in parts) else np.concatenate(owners),
            labels={name: Labels(_concatenate(values), parts[0].labels[name].level) for name, values in labels.items()},
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
    def num_truncated(self) -> int:
        """The number of inputs that were longer than the model reads and lost tokens."""
        return sum(count > 0 for count in self.truncated)

    @property
    def input_ids(self) -> list[list[int]]:
        """One list of ids per row, computed on each access."""
        return [row.tolist() for row in self.by_row(self.ids)]

    @cached_property
    def stops(self) -> Integers:
        """``[R]``, one past each row's last token."""
        return np.cumsum(self.lengths, dtype=np.int64)

    @cached_property
    def starts(self) -> Integers:
        """``[R]``, the position of each row's first token."""
        return self.stops - np.array(self.lengths, np.int64)

    def rows_of(self, places: Any) -> Any:
        """Return the row of the token at each position, int64 of the same shape."""
        return np.searchsorted(self.stops, places, side="right")

    def row_ranges(self) -> list[range]:
        """Return the rows of each input."""
        return [range(start, stop) for start, stop in pairwise(self.first_rows.tolist())]

    @property
    def targets(self) -> Array:
        """The labels of a task that has only one kind."""
        return self.labels[LABELS].values

    @property
    def labelled(self) -> Integers:
        """``[M]``, the positions of labelled tokens, of a task that has only one kind of labels."""
        return np.flatnonzero(self.targets != IGNORED)

    def groups(self) -> list[Group]:
        """Return the rows of each input with its text; these features need encodings and texts."""
        assert self.encodings is not None
        assert self.texts is not None
        inputs = zip(self.row_ranges(), self.texts, strict=True)
        return [Group(rows, [self.encodings[row] for row in rows], text) for rows, text in inputs]

    def by_row(self, values: Any) -> list[Any]:
        """Split ``values [T, ...]``, an array or a tensor, into one part per row."""
        return [values[start:stop] for start, stop in pairwise([0, *self.stops.tolist()])]

    def by_input(self, rows: Sequence[Any]) -> list[list[Any]]:
        """Group one value per row into one list per input."""
        return [[rows[row] for row in group] for group in self.row_ranges()]

    def at_places(self, values: Any, places: Integers) -> list[Any]:
        """Split the values of tokens at ascending positions ``places [M]`` into one part per row."""
        stops = np.searchsorted(places, self.stops)
        return [values[start:stop] for start, stop in pairwise([0, *stops.tolist()])]

    def keep_owned(self, parts: Sequence[Any]) -> list[Any]:
        """Return one part per row, ``[n, ...]``, reduced to the tokens that the row owns."""
        if self.owned is None:
            return list(parts)
        return [part[mask] for part, mask in zip(parts, self.by_row(self.owned), strict=True)]

    def input_lengths(self) -> list[int]:
        """Return the number of tokens of each input, in all its rows."""
        return np.bincount(self.owner_of_rows, self.lengths, self.num_inputs).astype(int).tolist()

    def with_labels(self, values: Array, level: Level = "input", name: str = LABELS) -> "Features":
        """Return the same features with these labels, and those of other names."""
        return replace(self, labels={**self.labels, name: Labels(values, level)})

    def select_inputs(self, inputs: Sequence[int]) -> "Features":
        """Return the features of the inputs with these numbers, in this order, with all their rows."""
        if self.owners is None:
            return self.select(inputs)
        numbers = np.array(inputs, np.int64)
        counts = np.diff(self.first_rows)[numbers]
        owners = np.repeat(np.arange(len(numbers)), counts)
        return self._gather(ranges(self.first_rows[numbers], counts), numbers, owners)

    def select(self, rows: Sequence[int]) -> "Features":
        """Return the features of the rows with these numbers, in this order, each as an input of its own.

        An input's rows need not all be selected.
        """
        if self.owners is None and len(rows) == len(self.lengths) and list(rows) == list(range(len(rows))):
            return self
        if self.owners is None and isinstance(rows, range) and rows.step == 1 and rows:  # contiguous: nothing is copied
            tokens, own = slice(int(self.starts[rows[0]]), int(self.stops[rows[-1]])), slice(rows[0], rows[-1] + 1)
            return self._index({"row": own, "input": own, "token": tokens}, None)
        numbers = np.array(rows, np.int64)
        return self._gather(numbers, numbers if self.owners is None else self.owners[numbers], None)

    def without_texts(self) -> "Features":
        """Return only what is computed and learned from: neither texts nor the offsets of tokens in them."""
        return replace(self, encodings=None, texts=None)

    # inputs of several parts: the choices of a prompt, the texts of a pair

    def in_parts(self, counts: Sequence[int]) -> "Features":
        """Regroup consecutive parts, which are inputs here, into N inputs with ``counts`` parts each."""
        inputs = np.repeat(np.arange(len(counts)), np.asarray(counts, np.int64))
        numbers = np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)])
        return replace(
            self,
            owners=inputs[self.owner_of_rows],
            parts=numbers[self.owner_of_rows],
            truncated=np.bincount(inputs, self.truncated, len(counts)).astype(int).tolist(),
            empty=(np.bincount(inputs, np.logical_not(self.empty), len(counts)) == 0).tolist(),
        )

    def by_part(self) -> "Features":
        """Return the same rows with each of the U parts as an input of its own."""
        count = int(self._part_begins.sum())
        owners = None if count == len(self.lengths) else np.cumsum(self._part_begins) - 1
        rows = (self.ids, self.types, self.lengths)
        return Features(*rows, [0] * count, [False] * count, owners, owned=self.owned)

    @property
    def part_counts(self) -> Integers:
        """``[N]``, the number of parts of each input."""
        return np.bincount(self.owner_of_rows[self._part_begins], minlength=self.num_inputs)

    def part_keys(self) -> list[int]:
        """Return a hash of each part's tokens, in order; parts of equal tokens have equal hashes."""
        return [hash(ids.tobytes()) for ids in np.split(self.ids, self.starts[self._part_begins][1:])]

    @cached_property
    def _part_begins(self) -> NDArray[np.bool_]:
        """``[R]``, whether a row is the first of its part."""
        assert self.parts is not None
        return (np.diff(self.owner_of_rows, prepend=-1) != 0) | (np.diff(self.parts, prepend=-1) != 0)

    def _gather(self, rows: Integers, inputs: Integers, owners: Integers | None) -> "Features":
        """Return the entries of these rows, of their tokens, and of these inputs."""
        tokens = ranges(self.starts[rows], (self.stops - self.starts)[rows])
        return self._index({"row": rows, "input": inputs, "token": tokens}, owners)

    def _index(self, places: Mapping[Level, Integers | slice], owners: Integers | None) -> "Features":
        return Features(
            **{name: _take(getattr(self, name), places[level]) for name, level in _LEVELS.items()},
            owners=owners,
            labels={name: Labels(_take(values, places[level]), level) for name, (values, level) in self.labels.items()},
        )

    @cached_property
    def first_rows(self) -> Integers:
        """``[N + 1]``: each input's first row, and the number of rows."""
        return np.searchsorted(self.owner_of_rows, np.arange(self.num_inputs + 1))


class Outputs(NamedTuple):
    """What a model computed for N inputs."""

    values: Values  # one per input, as `bertie.tasks.task.Task.combine` returns them
    features: Features  # what they were computed from
    labels: Sequence[Any] = ()  # one per input, as in labelled data; empty at inference


_LEVELS: dict[str, Level] = {
    **dict.fromkeys(("ids", "types", "owned"), "token"),
    **dict.fromkeys(("lengths", "encodings", "parts"), "row"),
    **dict.fromkeys(("truncated", "empty", "texts"), "input"),
}


def _take(values: Any, places: Integers | slice) -> Any:
    """Return the entries of an array or a list at these places, in this order."""
    if values is None:
        return None
    if isinstance(places, slice) or isinstance(values, np.ndarray):
        return values[places]
    return [values[place] for place in places.tolist()]


def _concatenate(lists: Sequence[Any]) -> Any:
    """Return the entries of all arrays or lists; None if one of them is None."""
    if any(values is None for values in lists):
        return None
    if all(isinstance(values, np.ndarray) for values in lists):
        return np.concatenate(lists)
    return list(chain.from_iterable(lists))


def _concatenate_tokens(parts: Sequence[Features], name: str, default: int) -> Array | None:
    """Return the entries of all parts' tokens, the default for parts without any; None if no part has any."""
    arrays = [getattr(part, name) for part in parts]
    if all(values is None for values in arrays):
        return None
    pairs = zip(parts, arrays, strict=True)
    return np.concatenate([np.full(len(part.ids), default) if values is None else values for part, values in pairs])
