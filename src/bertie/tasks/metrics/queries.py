"""Pairs of a query and a passage, one a row, scored as rankings: rows of one query belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, plural
from bertie.tasks.metrics.choices import Choices
from bertie.tasks.metrics.ranking import Ranking
from bertie.tasks.metrics.scores import Sums

# Passages that are at least half as relevant as can be are taken for relevant where only yes and no are counted.
HALF = 0.5


@dataclass(frozen=True)
class Queries:
    """Predictions: pairs of a query and its passage's score (0 to 1). Labels: the relevance, from 0 to 1.

    Figures: those of `Ranking` over the queries, and ``accuracy``: how often score and relevance lie on the same side
    of 0.5. Where no query has two passages there is nothing to rank within one, and all rows are one ranking: ``map``
    is then their average precision. Rows of a query may stand anywhere: three numbers a row are kept.

    Args:
        main: the figure that stands for all.
    """

    main: str = "map"
    names: ClassVar[tuple[str, ...]] = ("mrr", "ndcg@10", "map", "accuracy")

    def collect(self, systems: int, replicates: int, seed: int) -> "Grouped":
        """Return an empty collector."""
        return Grouped(systems, replicates, seed)


class Grouped:
    """The collector of `Queries`: each row's query, scores and relevance."""

    def __init__(self, systems: int, replicates: int, seed: int) -> None:
        self.count = 0
        self._systems, self._replicates, self._seed = systems, replicates, seed
        self._numbers: dict[str, int] = {}
        self._queries: list[int] = []
        self._parts: list[NDArray] = []

    def add(self, predictions: Sequence[Any], labels: Any) -> None:
        """Take in rows; a query is known by its text.

        Raises:
            InputError: a score or relevance that is no finite number.
        """
        columns = [*([score for _, score in given] for given in predictions), labels]
        rows = np.stack([np.asarray(column, np.float64).reshape(-1) for column in columns], axis=1)
        if not np.isfinite(rows).all():
            raise InputError("A score or relevance is not finite; a ranking needs finite numbers.")
        for query, _ in predictions[0]:
            self._queries.append(self._numbers.setdefault(query, len(self._numbers)))
        self._parts.append(rows)
        self.count += len(rows)

    def figures(self) -> list[dict[str, float]]:
        both = zip(self._ranked().figures(), self._decided().figures(), strict=True)
        return [ranked | decided for ranked, decided in both]

    def resampled(self) -> list[dict[str, NDArray]]:
        both = zip(self._ranked().resampled(), self._decided().resampled(), strict=True)
        return [ranked | decided for ranked, decided in both]

    def table(self) -> list[dict[str, Any]]:
        return []

    def notes(self) -> list[str]:
        groups = self._groups()
        if len(groups) == 1:
            return ["All rows are one ranking, whose figures have no interval: map is their average precision."]
        lacking = sum(not (group[:, -1] > 0).any() for group in groups)
        if not lacking:
            return []
        of_all = f"{lacking:,} of {len(groups):,} queries {plural(lacking, 'has', 'have')}"
        return [f"{of_all} no relevant passage and {plural(lacking, 'counts', 'count')} 0."]

    def _rows(self) -> NDArray:
        """Return the systems' scores and, last, the relevance, ``[n, systems + 1]``."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def _groups(self) -> list[NDArray]:
        """Return the rows of each query."""
        rows, queries = self._rows(), np.array(self._queries)
        if len(self._numbers) == len(rows):
            return [rows]
        order = np.argsort(queries, kind="stable")
        return np.split(rows[order], np.flatnonzero(np.diff(queries[order])) + 1)

    def _ranked(self) -> Sums:
        """Return the collector of a ranking a query."""
        groups = self._groups()
        # one ranking tells nothing of how much another sample would differ
        sums = Ranking().collect(self._systems, self._replicates if len(groups) > 1 else 0, self._seed)
        sums.add([list(_column(groups, system)) for system in range(self._systems)], list(_column(groups, -1)))
        return sums

    def _decided(self) -> Sums:
        """Return the collector of yes and no a row."""
        sums = Choices().collect(self._systems, self._replicates, self._seed)
        *said, gold = (self._rows() >= HALF).astype(np.int64).T
        sums.add(said, gold)
        return sums


def _column(groups: list[NDArray], column: int) -> Iterator[NDArray]:
    return (group[:, column] for group in groups)
