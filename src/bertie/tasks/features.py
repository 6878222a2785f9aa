"""What a task makes of its inputs before the model sees them: rows of ids without padding, and whose rows they are."""

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

# one entry a row or an input
Values: TypeAlias = Sequence[Any] | Array
# what has a label of its own
Each: TypeAlias = Literal["input", "row", "token"]
# the name of the only kind of labels that most tasks have
LABELS = "labels"


class Labels(NamedTuple):
    """What a model is to learn: one entry of ``values`` for each input, each row or each token."""

    values: Array
    each: Each


@dataclass(frozen=True, eq=False)
class Features:
    """R rows of T token ids in all, side by side in one array: a batch is slices of it.

    Most often an input is one row. Read in windows, or given as several choices, it is several rows, one after the
    other.
    """

    ids: Integers  # [T] int64, special tokens included
    types: Integers | None  # [T] int64, the token types; None where all are 0
    lengths: list[int]  # the number of tokens of each row
    truncated: list[int]  # how many tokens of each of the N inputs no row holds, as far as they were counted
    empty: list[bool]  # whether an input has no token but the special ones
    owners: Integers | None = None  # [R] in rising order, the input that each row belongs to; None: row i is input i
    encodings: Sequence[Encoding] | None = None  # each row with the places in the text of its tokens, if needed
    owned: Array | None = None  # [T] bool: where windows share a token, one of them owns it; None: all are their rows'
    # [R] int64, rising within an input: which part of it (a choice, a text of several) a row belongs to
    parts: Integers | None = None
    labels: Mapping[str, Labels] = field(default_factory=dict)  # what is to be learned, each kind by its name
    texts: Sequence[Any] | None = None  # each of the N inputs, as the task read it, if needed

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
        owned: Array | None = None,
    ) -> "Features":
        """Return the features of inputs that are one or several rows each, with their encodings."""
        rows = [row for group in groups for row in group]
        empty = [group[0].is_empty for group in groups]
        ids, types, lengths, *_ = flat_ids(rows)
        owners = np.repeat(np.arange(len(groups)), list(map(len, groups)))
        return cls(ids, types, lengths, truncated, empty, None if len(rows) == len(groups) else owners, rows, owned)

    @classmethod
    def joined(cls, parts: "Sequence[Features]") -> "Features":
        """Return the features of all parts' inputs, one after the other."""
        firsts = accumulate((part.num_inputs for part in parts), initial=0)
        owners = [first + part.owner_of_rows for first, part in zip(firsts, parts, strict=False)]
        plain = ("ids", "lengths", "truncated", "empty", "encodings", "parts", "texts")
        labels = {name: [part.labels[name].values for part in parts] for name in parts[0].labels}
        return cls(
            **{name: _joined([getattr(part, name) for part in parts]) for name in plain},
            types=_joined_tokens(parts, "types", usual=0),
            owned=_joined_tokens(parts, "owned", usual=True),
            owners=None if all(part.owners is None for part in parts) else np.concatenate(owners),
            labels={name: Labels(_joined(values), parts[0].labels[name].each) for name, values in labels.items()},
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
    def num_cut(self) -> int:
        """How many inputs were longer than the model reads, and lost tokens."""
        return sum(count > 0 for count in self.truncated)

    @property
    def input_ids(self) -> list[list[int]]:
        """One list of ids a row, made anew each time."""
        return [row.tolist() for row in self.by_row(self.ids)]

    @cached_property
    def stops(self) -> Integers:
        """``[R]``, the place behind each row's last token."""
        return np.cumsum(self.lengths, dtype=np.int64)

    @cached_property
    def starts(self) -> Integers:
        """``[R]``, the place of each row's first token."""
        return self.stops - np.array(self.lengths, np.int64)

    def rows_of(self, places: Any) -> Any:
        """Return the row of the token at each place, int64 of the same shape."""
        return np.searchsorted(self.stops, places, side="right")

    def groups(self) -> list[range]:
        """Return the rows of each input."""
        return [range(start, stop) for start, stop in pairwise(self.first_rows.tolist())]

    @property
    def wanted(self) -> Array:
        """The labels of a task that has one kind of them."""
        return self.labels[LABELS].values

    @property
    def labelled(self) -> Integers:
        """``[M]``, the tokens that have a label, of a task that has one kind of them."""
        return np.flatnonzero(self.wanted != IGNORED)

    def groups_read(self) -> list[Group]:
        """Return the rows of each input with its text, of features that have encodings and texts."""
        assert self.encodings is not None
        assert self.texts is not None
        found = zip(self.groups(), self.texts, strict=True)
        return [Group(rows, [self.encodings[row] for row in rows], text) for rows, text in found]

    def by_row(self, values: Any) -> list[Any]:
        """Return ``values [T, ...]``, an array or a tensor, as one part a row."""
        return [values[start:stop] for start, stop in pairwise([0, *self.stops.tolist()])]

    def by_input(self, rows: Sequence[Any]) -> list[list[Any]]:
        """Return one value a row as one list an input."""
        return [[rows[row] for row in group] for group in self.groups()]

    def at_places(self, values: Any, places: Integers) -> list[Any]:
        """Return values of tokens at rising ``places [M]`` as one part a row."""
        stops = np.searchsorted(places, self.stops)
        return [values[start:stop] for start, stop in pairwise([0, *stops.tolist()])]

    def own(self, parts: Sequence[Any]) -> list[Any]:
        """Return of one part a row, ``[n, ...]``, what belongs to the row's own tokens."""
        if self.owned is None:
            return list(parts)
        return [part[mask] for part, mask in zip(parts, self.by_row(self.owned), strict=True)]

    def sizes(self) -> list[int]:
        """Return the number of tokens of each input, in all its rows."""
        return np.bincount(self.owner_of_rows, self.lengths, self.num_inputs).astype(int).tolist()

    def with_labels(self, values: Array, each: Each = "input", name: str = LABELS) -> "Features":
        """Return the same features with what is to be learned of them, beside labels of other names."""
        return replace(self, labels={**self.labels, name: Labels(values, each)})

    def of_inputs(self, inputs: Sequence[int]) -> "Features":
        """Return the features of the inputs with these numbers, all their rows, in this order."""
        if self.owners is None:
            return self.select(inputs)
        numbers = np.array(inputs, np.int64)
        counts = np.diff(self.first_rows)[numbers]
        owners = np.repeat(np.arange(len(numbers)), counts)
        return self._chosen(ranges(self.first_rows[numbers], counts), numbers, owners)

    def select(self, rows: Sequence[int]) -> "Features":
        """Return the features of the rows with these numbers, in this order; rows of an input need not be complete.

        Each row is an input of its own in what comes back.
        """
        if self.owners is None and len(rows) == len(self.lengths) and list(rows) == list(range(len(rows))):
            return self
        if self.owners is None and isinstance(rows, range) and rows.step == 1 and rows:  # side by side: no copies
            tokens, own = slice(int(self.starts[rows[0]]), int(self.stops[rows[-1]])), slice(rows[0], rows[-1] + 1)
            return self._at({"row": own, "input": own, "token": tokens}, None)
        numbers = np.array(rows, np.int64)
        return self._chosen(numbers, numbers if self.owners is None else self.owners[numbers], None)

    def without_texts(self) -> "Features":
        """Return what is computed and learned alone: neither texts nor the places of tokens in them."""
        return replace(self, encodings=None, texts=None)

    # inputs of several parts: the choices of a prompt, the texts of a pair

    def in_parts(self, counts: Sequence[int]) -> "Features":
        """Return the features of N inputs from those of all their parts, which have so many one after the other."""
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
        """Return the same rows as those of U parts, each an input of its own."""
        count = int(self._part_begins.sum())
        owners = None if count == len(self.lengths) else np.cumsum(self._part_begins) - 1
        rows = (self.ids, self.types, self.lengths)
        return Features(*rows, [0] * count, [False] * count, owners, owned=self.owned)

    @property
    def part_counts(self) -> Integers:
        """``[N]``, how many parts each input has."""
        return np.bincount(self.owner_of_rows[self._part_begins], minlength=self.num_inputs)

    def part_keys(self) -> list[int]:
        """Return a number a part that is the same where the part's tokens are the same, in order of the parts."""
        return [hash(ids.tobytes()) for ids in np.split(self.ids, self.starts[self._part_begins][1:])]

    @cached_property
    def _part_begins(self) -> NDArray[np.bool_]:
        """``[R]``, which rows are the first of a part."""
        assert self.parts is not None
        return (np.diff(self.owner_of_rows, prepend=-1) != 0) | (np.diff(self.parts, prepend=-1) != 0)

    def _chosen(self, rows: Integers, inputs: Integers, owners: Integers | None) -> "Features":
        """Return these rows, and of each of these inputs what it has an entry of."""
        tokens = ranges(self.starts[rows], (self.stops - self.starts)[rows])
        return self._at({"row": rows, "input": inputs, "token": tokens}, owners)

    def _at(self, places: Mapping[Each, Integers | slice], owners: Integers | None) -> "Features":
        return Features(
            **{name: _taken(getattr(self, name), places[each]) for name, each in _ENTRIES.items()},
            owners=owners,
            labels={name: Labels(_taken(values, places[each]), each) for name, (values, each) in self.labels.items()},
        )

    @cached_property
    def first_rows(self) -> Integers:
        """``[N + 1]``: where each input's rows begin, and where the last ones end."""
        return np.searchsorted(self.owner_of_rows, np.arange(self.num_inputs + 1))


class Outputs(NamedTuple):
    """What a model computed for N inputs."""

    values: Values  # one entry an input, as `bertie.tasks.task.Task.combine` gives them
    features: Features  # what they were computed from
    labels: Sequence[Any] = ()  # what is right for each input, as labelled data has it; empty while answers are wanted


# what each field has an entry of
_ENTRIES: dict[str, Each] = {
    **dict.fromkeys(("ids", "types", "owned"), "token"),
    **dict.fromkeys(("lengths", "encodings", "parts"), "row"),
    **dict.fromkeys(("truncated", "empty", "texts"), "input"),
}


def _taken(values: Any, places: Integers | slice) -> Any:
    """Return the entries at these places, in this order, of an array or a list."""
    if values is None:
        return None
    if isinstance(places, slice) or isinstance(values, np.ndarray):
        return values[places]
    return [values[place] for place in places.tolist()]


def _joined(lists: Sequence[Any]) -> Any:
    """Return the entries of all arrays or lists; None if one of them is not known."""
    if any(values is None for values in lists):
        return None
    if all(isinstance(values, np.ndarray) for values in lists):
        return np.concatenate(lists)
    return list(chain.from_iterable(lists))


def _joined_tokens(parts: Sequence[Features], name: str, usual: int) -> Array | None:
    """Return the entries of all parts' tokens: the usual one where a part has none, and None where no part has."""
    arrays = [getattr(part, name) for part in parts]
    if all(values is None for values in arrays):
        return None
    known = zip(parts, arrays, strict=True)
    return np.concatenate([np.full(len(part.ids), usual) if values is None else values for part, values in known])
