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
from bertie.tasks.alignment import MERGES, Alignment
from bertie.tasks.arrays import Array, Integers
from bertie.tokenization.pieces import Span

STRATEGIES = ("none", "simple", *MERGES)
Entities = list[dict[str, Any]]


class Source(NamedTuple):
    """Where the pieces of one text come from."""

    tokens: Sequence[str]  # of an unknown word its own characters
    spans: Sequence[Span]  # the characters of each
    place: int  # where in the row the first piece stands


@dataclass(frozen=True)
class Grouper:
    """Makes entities of texts, in the form of transformers' pipeline."""

    labels: Sequence[str]
    strategy: str  # one of STRATEGIES
    ignored: Collection[str]  # the labels, and types of entities, that are left out
    scheme: str | None  # keeps the tags within it, and reads entities by it; None takes every unit's best label
    join: Callable[[Sequence[str]], str]  # makes a string of tokens

    def answers(
        self, scores: Array, goes_on: NDArray[np.bool_], sizes: Sequence[int], source_of: Callable[[int], Source]
    ) -> list[Entities]:
        """Return, for each text, an entry a token with the strategy "none", else one an entity.

        ``scores [T, C]`` are probabilities, ``goes_on [T]`` says whether a piece goes on in the word of the one before
        it, and ``sizes`` are the texts' numbers of pieces; ``source_of`` is called for texts with answers alone.
        """
        found: list[Entities] = [[] for _ in sizes]
        if not len(scores):
            return found
        texts = np.repeat(np.arange(len(sizes)), sizes)
        begins = np.cumsum(sizes) - sizes
        firsts, bounds, scores = self._units(scores, goes_on)
        tags = chosen(scores, np.bincount(texts[firsts], minlength=len(sizes)), self._rules)
        certainty = scores[np.arange(len(tags)), tags].tolist()
        names, starts, lasts = self._spans(tags, texts[firsts])
        source = None
        for first, last in zip(starts.tolist(), lasts.tolist(), strict=True):
            number = int(texts[firsts[first]])
            # spans come in the order of the texts
            source = source if source is not None and found[number] else source_of(number)
            places = (bounds[first : last + 2] - begins[number]).tolist()
            found[number].append(self._entity(names[tags[first]], certainty[first : last + 1], source, places))
        return found

    def _units(self, scores: Array, goes_on: NDArray[np.bool_]) -> tuple[Integers, Integers, Array]:
        """Return the first piece ``[U]`` of each unit, the same with T at the end, and the scores ``[U, C]``."""
        words = self.strategy in MERGES
        firsts = np.flatnonzero(~goes_on) if words else np.arange(len(scores))
        bounds = np.append(firsts, len(scores))
        if words:
            units = Alignment(np.arange(len(firsts)), firsts, bounds[1:], len(firsts), len(scores))
            scores = units.word_scores(scores, self.strategy)
        return firsts, bounds, scores

    def _spans(self, tags: Integers, texts: Integers) -> tuple[Sequence[str], Integers, Integers]:
        """Return what each tag is called, and the first and the last unit of each answer, from tags and texts [U]."""
        names, starts, lasts = self.labels, np.arange(len(tags)), np.arange(len(tags))
        if self.strategy != "none":
            names = self._table.names
            starts, lasts = self._table.runs(tags, np.diff(texts, prepend=-1) != 0)
        wanted = np.array([name not in self.ignored for name in names], np.bool_)[tags[starts]]
        return names, starts[wanted], lasts[wanted]

    def _entity(self, kind: str, certainty: Sequence[float], source: Source, places: Sequence[int]) -> dict[str, Any]:
        """Return an answer; its unit ``i`` has the tokens from ``places[i]`` up to ``places[i + 1]``."""
        first, stop = places[0], places[-1]
        characters = {"start": source.spans[first][0], "end": source.spans[stop - 1][1]}
        if self.strategy == "none":
            known = {"score": certainty[0], "index": source.place + first, "word": source.tokens[first]}
            return {"entity": kind, **known, **characters}
        tokens = source.tokens[first:stop]
        if self.strategy != "simple":
            tokens = [self.join(source.tokens[start:end]) for start, end in pairwise(places)]
        score = sum(certainty) / len(certainty)
        return {"entity_group": kind, "score": score, "word": self.join(tokens), **characters}

    @cached_property
    def _rules(self) -> Rules | None:
        return None if self.scheme is None else Rules.of(self.labels, self.scheme)

    @cached_property
    def _table(self) -> TagTable:
        return TagTable.of(self.labels, self.scheme)


def chosen(scores: Array, sizes: Sequence[int] | Integers, rules: Rules | None) -> Integers:
    """Return the label of each unit of texts side by side: the best one, or of each text the best that keep the rules.

    ``scores`` are probabilities ``[U, C]``, ``sizes`` the number of units of each text.
    """
    if rules is None:
        return scores.argmax(axis=1)
    with np.errstate(divide="ignore"):
        return best_tags(np.log(scores.astype(np.float64)), rules, sizes)
