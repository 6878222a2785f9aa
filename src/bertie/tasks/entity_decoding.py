"""Entities from the scores of pieces: words made of pieces, tags of words, and runs of tags, with their characters.

Many texts are read side by side: T pieces in all, U units (pieces or words), C labels.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.data.tag_schemes import Rules, TagTable, best_tags
from bertie.tasks.alignment import MERGES, Alignment, Integers
from bertie.tokenization.pieces import Span

STRATEGIES = ("none", "simple", *MERGES)
Flags = NDArray[np.bool_]


class Source(NamedTuple):
    """Where the pieces of one text come from.

    Attributes:
        text: what the characters are of.
        tokens: its pieces; of an unknown word its own characters.
        spans: the characters of each in the text.
        place: where in the row the first piece stands.
    """

    text: str
    tokens: Sequence[str]
    spans: Sequence[Span]
    place: int


@dataclass(frozen=True, eq=False)
class Scored:
    """Texts with the scores of their pieces.

    Attributes:
        sizes: the number of pieces of each text.
        scores: ``[T, C]``, the probability of each label.
        goes_on: ``[T]``, whether a piece goes on in the word of the one before it.
        source: gives where the pieces of a text come from, by its number; asked for texts with answers alone.
    """

    sizes: Sequence[int]
    scores: NDArray[Any]
    goes_on: Flags
    source: Callable[[int], Source]

    @cached_property
    def begins(self) -> Integers:
        """Where each text begins."""
        return np.cumsum([0, *self.sizes[:-1]])[: len(self.sizes)]

    @cached_property
    def texts(self) -> Integers:
        """``[T]``, the text of each piece."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


@dataclass(frozen=True)
class Grouper:
    """Makes entities of texts, in the form of transformers' pipeline.

    Args:
        labels: the names of the C labels.
        strategy: one of `STRATEGIES`.
        ignored: the labels, and types of entities, that are left out.
        scheme: keeps the tags within a scheme, and reads entities by it; None takes every unit's best label.
        join: makes a string of tokens.
    """

    labels: Sequence[str]
    strategy: str
    ignored: Collection[str]
    scheme: str | None
    join: Callable[[Sequence[str]], str]

    def answers(self, texts: Scored) -> list[list[dict[str, Any]]]:
        """Return, for each text, an entry a token with the strategy "none", else one an entity."""
        found: list[list[dict[str, Any]]] = [[] for _ in texts.sizes]
        if not len(texts.scores):
            return found
        words = self.strategy in MERGES
        firsts = np.flatnonzero(~texts.goes_on) if words else np.arange(len(texts.scores))
        stops = np.append(firsts[1:], len(texts.scores))
        scores = texts.scores
        if words:
            units = Alignment(np.arange(len(firsts)), firsts, stops, len(firsts), len(scores))
            scores = units.word_scores(scores, self.strategy)
        tags = chosen(scores, np.bincount(texts.texts[firsts], minlength=len(texts.sizes)), self._rules)
        certainty = scores[np.arange(len(tags)), tags]
        add = self._add_tokens if self.strategy == "none" else self._add_entities
        add(found, texts, tags, certainty, firsts, stops)
        return found

    def _add_tokens(
        self,
        found: list[list[dict[str, Any]]],
        texts: Scored,
        tags: Integers,
        certainty: NDArray[Any],
        firsts: Integers,
        stops: Integers,
    ) -> None:
        del firsts, stops
        wanted = np.array([label not in self.ignored for label in self.labels], np.bool_)
        sources = _Sources(texts)
        for piece in np.flatnonzero(wanted[tags]).tolist():
            number, source, place = sources.of(piece)
            found[number].append(
                {
                    "entity": self.labels[tags[piece]],
                    "score": float(certainty[piece]),
                    "index": source.place + place,
                    "word": source.tokens[place],
                    "start": source.spans[place][0],
                    "end": source.spans[place][1],
                }
            )

    def _add_entities(
        self,
        found: list[list[dict[str, Any]]],
        texts: Scored,
        tags: Integers,
        certainty: NDArray[Any],
        firsts: Integers,
        stops: Integers,
    ) -> None:
        at_text = np.zeros(len(tags), np.bool_)
        at_text[np.searchsorted(firsts, texts.begins[np.asarray(texts.sizes) > 0])] = True
        sums = np.concatenate((np.zeros(1), certainty.cumsum(dtype=np.float64)))
        sources = _Sources(texts)
        for first, last in zip(*map(np.ndarray.tolist, self._table.runs(tags, at_text)), strict=True):
            kind = self._table.names[tags[first]]
            if kind in self.ignored:
                continue
            number, source, place = sources.of(int(firsts[first]))
            shift = place - int(firsts[first])
            bounds = [*(firsts[first : last + 1] + shift).tolist(), int(stops[last]) + shift]
            found[number].append(
                {
                    "entity_group": kind,
                    "score": float(sums[last + 1] - sums[first]) / (last + 1 - first),
                    "word": self._word(source.tokens, bounds),
                    "start": source.spans[bounds[0]][0],
                    "end": source.spans[bounds[-1] - 1][1],
                }
            )

    def _word(self, tokens: Sequence[str], bounds: Sequence[int]) -> str:
        """Return the string of units; unit ``i`` has the tokens from ``bounds[i]`` up to ``bounds[i + 1]``."""
        if self.strategy == "simple":
            return self.join(tokens[bounds[0] : bounds[-1]])
        return self.join([self.join(tokens[start:stop]) for start, stop in pairwise(bounds)])

    @cached_property
    def _rules(self) -> Rules | None:
        return None if self.scheme is None else Rules.of(self.labels, self.scheme)

    @cached_property
    def _table(self) -> TagTable:
        return TagTable.of(self.labels, self.scheme)


class _Sources:
    """Finds the texts of pieces, which are asked for in order."""

    def __init__(self, texts: Scored) -> None:
        self._texts = texts
        self._number = -1
        self._source: Source | None = None

    def of(self, piece: int) -> tuple[int, Source, int]:
        """Return a piece's text, its source, and the piece's place among the text's."""
        number = int(self._texts.texts[piece])
        if number != self._number or self._source is None:
            self._number, self._source = number, self._texts.source(number)
        return number, self._source, piece - int(self._texts.begins[number])


def chosen(scores: NDArray[Any], sizes: Sequence[int] | Integers, rules: Rules | None) -> Integers:
    """Return the label of each unit: the best one, or of each text the best tags that keep the rules.

    Args:
        scores: ``[U, C]`` probabilities of texts side by side.
        sizes: the number of units of each text.
        rules: those of the labels; None: there are none.
    """
    if rules is None:
        return scores.argmax(axis=1)
    with np.errstate(divide="ignore"):
        return best_tags(np.log(scores.astype(np.float64)), rules, sizes)
