"""What a task makes of its inputs before the model sees them: rows of ids without padding, and whose rows they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from bertie.tasks.arrays import Array, Integers
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.pieces import Pieces
from bertie.tokenization.rows import flat_ids

Entry = TypeVar("Entry")
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
        labels: what is to be learned, each kind by its name; none while answers are wanted.
        texts: each of the N inputs, as the task read it; None where no task needs it.
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
    labels: Mapping[str, Labels] = field(default_factory=dict)
    texts: Sequence[Any] | None = None

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
        """Return the features of all parts' inputs, one after the other."""
        firsts = [0, *accumulate(part.num_inputs for part in parts)]
        owners = [start + part.owner_of_rows for start, part in zip(firsts, parts, strict=False)]
        types = [np.zeros_like(part.ids) if part.types is None else part.types for part in parts]
        return cls(
            ids=np.concatenate([part.ids for part in parts]),
            types=None if all(part.types is None for part in parts) else np.concatenate(types),
            lengths=[length for part in parts for length in part.lengths],
            truncated=[cut for part in parts for cut in part.truncated],
            empty=[empty for part in parts for empty in part.empty],
            owners=None if all(part.owners is None for part in parts) else np.concatenate(owners),
            owned=_joined_flags(parts),
            parts=_joined([part.parts for part in parts]),
            labels={
                name: Labels(np.concatenate([part.labels[name].values for part in parts]), labels.each)
                for name, labels in parts[0].labels.items()
            },
            encodings=_chained([part.encodings for part in parts]),
            texts=_chained([part.texts for part in parts]),
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

    @property
    def wanted(self) -> Array:
        """The labels of a task that has one kind of them."""
        return self.labels[LABELS].values

    def groups_read(self) -> "list[Group]":
        """Return the rows of each input with its text, of features that have encodings and texts."""
        assert self.encodings is not None
        assert self.texts is not None
        found = zip(self.groups(), self.texts, strict=True)
        return [Group(rows, [self.encodings[row] for row in rows], text) for rows, text in found]

    def by_row(self, values: Any) -> list[Any]:
        """Return ``values [T, ...]``, an array or a tensor, as one part a row."""
        return [values[start:stop] for start, stop in self._spans]

    def sizes(self) -> list[int]:
        """Return the number of tokens of each input, in all its rows."""
        if self.owners is None:
            return self.lengths
        return np.bincount(self.owners, self.lengths, self.num_inputs).astype(int).tolist()

    def with_labels(self, values: Array, each: Each = "input", name: str = LABELS) -> "Features":
        """Return the same features with what is to be learned of them, beside labels of other names."""
        return replace(self, labels={**self.labels, name: Labels(values, each)})

    def of_inputs(self, inputs: Sequence[int]) -> "Features":
        """Return the features of the inputs with these numbers, all their rows, in this order."""
        if self.owners is None:
            return self.select(inputs)
        firsts = self.first_rows
        rows = [row for number in inputs for row in range(firsts[number], firsts[number + 1])]
        owners = np.repeat(np.arange(len(inputs)), np.diff(firsts)[np.asarray(inputs, np.int64)])
        return self._chosen(rows, inputs, owners)

    def select(self, rows: Sequence[int]) -> "Features":
        """Return the features of the rows with these numbers, in this order; rows of an input need not be complete.

        Each row is an input of its own in what comes back.
        """
        if self.owners is None and list(rows) == list(range(len(self.lengths))):
            return self
        return self._chosen(rows, rows if self.owners is None else self.owners[list(rows)].tolist(), None)

    def without_texts(self) -> "Features":
        """Return what is computed and learned alone: neither texts nor the places of tokens in them."""
        return replace(self, encodings=None, texts=None)

    def _chosen(self, rows: Sequence[int], inputs: Sequence[int], owners: Integers | None) -> "Features":
        """Return these rows, and of each of these inputs what it has an entry of."""
        slices = [slice(*self._spans[row]) for row in rows]

        def of_tokens(values: Array) -> Array:
            return np.concatenate([values[:0], *map(values.__getitem__, slices)])

        def chosen(values: Array, each: Each) -> Array:
            return of_tokens(values) if each == "token" else values[list(rows if each == "row" else inputs)]

        return Features(
            ids=of_tokens(self.ids),
            types=None if self.types is None else of_tokens(self.types),
            lengths=[self.lengths[row] for row in rows],
            truncated=[self.truncated[number] for number in inputs],
            empty=[self.empty[number] for number in inputs],
            owners=owners,
            encodings=None if self.encodings is None else [self.encodings[row] for row in rows],
            owned=None if self.owned is None else of_tokens(self.owned),
            parts=None if self.parts is None else self.parts[list(rows)],
            labels={name: Labels(chosen(*labels), labels.each) for name, labels in self.labels.items()},
            texts=None if self.texts is None else [self.texts[number] for number in inputs],
        )

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return list(pairwise(accumulate(self.lengths, initial=0)))

    @cached_property
    def first_rows(self) -> Integers:
        """``[N + 1]``: where each input's rows begin, and where the last ones end."""
        return np.searchsorted(self.owner_of_rows, np.arange(self.num_inputs + 1))


class Outputs(NamedTuple):
    """What a model computed for N inputs.

    Attributes:
        values: one entry an input, as `bertie.tasks.task.Task.combine` gives them.
        features: what they were computed from.
        labels: what is right for each input, as labelled data has it; empty while answers are wanted.
    """

    values: Values
    features: Features
    labels: Sequence[Any] = ()


class Group(NamedTuple):
    """One input with its rows.

    Attributes:
        rows: their numbers.
        encodings: the rows with the places their tokens come from.
        text: the input as the task read it.
    """

    rows: range
    encodings: list[Encoding]
    text: Any

    @property
    def pieces(self) -> Pieces:
        """The pieces of the input's last text, all of them."""
        return self.encodings[0].windows[-1].pieces

    @property
    def read(self) -> range:
        """Which of the pieces stand in a row."""
        return range(self.encodings[0].windows[-1].start, self.encodings[-1].windows[-1].stop)


def _joined(arrays: Sequence[Array | None]) -> Array | None:
    """Return arrays one after the other; None if there are none."""
    known = [array for array in arrays if array is not None]
    return np.concatenate(known) if known else None


def _joined_flags(parts: Sequence[Features]) -> Array | None:
    """Return which tokens are their rows' own; None where all are, in all parts."""
    if all(part.owned is None for part in parts):
        return None
    return np.concatenate([np.ones(len(part.ids), np.bool_) if part.owned is None else part.owned for part in parts])


def _chained(lists: Sequence[Sequence[Entry] | None]) -> list[Entry] | None:
    """Return the entries of all lists; None if one of them is not known."""
    known = [entries for entries in lists if entries is not None]
    return [entry for entries in known for entry in entries] if len(known) == len(lists) else None
