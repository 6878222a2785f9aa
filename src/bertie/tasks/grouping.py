"""Entities from the scores of pieces: words made of pieces, tags of words, and runs of tags, with their characters."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.tasks.alignment import MERGES, Alignment
from bertie.tasks.schemes import Rules, best_tags, entities
from bertie.tokenization.pieces import Span

STRATEGIES = ("none", "simple", *MERGES)


@dataclass(frozen=True)
class TaggedText:
    """One text with the scores of its T pieces.

    Attributes:
        text: what the characters are of.
        tokens: T pieces; of an unknown word its own characters.
        spans: the characters of each in the text.
        scores: ``[T, C]``, the probability of each label.
        place: where in the row the first piece stands.
    """

    text: str
    tokens: Sequence[str]
    spans: Sequence[Span]
    scores: NDArray[Any]
    place: int


@dataclass(frozen=True)
class Grouper:
    """Makes entities of texts, in the form of transformers' pipeline.

    Args:
        labels: the names of the C labels.
        strategy: one of `STRATEGIES`.
        ignored: the labels, and types of entities, that are left out.
        scheme: keeps the tags within a scheme, and reads entities by it; None takes every piece's or word's best
            label, and reads B-, I- and plain labels as the reference does.
        join: makes a string of tokens.
    """

    labels: Sequence[str]
    strategy: str
    ignored: Collection[str]
    scheme: str | None
    join: Callable[[Sequence[str]], str]

    def answers(self, text: TaggedText) -> list[dict[str, Any]]:
        """Return an entry a token with the strategy "none", else one an entity."""
        if not len(text.tokens):
            return []
        if self.strategy == "none":
            return self._tokens(text)
        if self.strategy == "simple":
            return self._entities(text, text.scores, [range(place, place + 1) for place in range(len(text.tokens))])
        words = Alignment.of_prefixes(text.tokens)
        pieces = list(map(range, words.firsts.tolist(), words.stops.tolist()))
        return self._entities(text, words.word_scores(text.scores, self.strategy), pieces)

    def _tokens(self, text: TaggedText) -> list[dict[str, Any]]:
        tags = chosen(text.scores, self._rules)
        scores = text.scores[np.arange(len(tags)), tags].tolist()
        return [
            {
                "entity": self.labels[tag],
                "score": score,
                "index": text.place + place,
                "word": text.tokens[place],
                "start": text.spans[place][0],
                "end": text.spans[place][1],
            }
            for place, (tag, score) in enumerate(zip(tags.tolist(), scores, strict=True))
            if self.labels[tag] not in self.ignored
        ]

    def _entities(self, text: TaggedText, scores: NDArray[Any], pieces: Sequence[range]) -> list[dict[str, Any]]:
        """Return the entities of units (pieces or words) with these scores, each of them so many pieces."""
        tags = chosen(scores, self._rules)
        certainty = scores[np.arange(len(tags)), tags].astype(np.float64)
        found = []
        for kind, first, last in self._runs([self.labels[tag] for tag in tags.tolist()]):
            if kind in self.ignored:
                continue
            units = pieces[first : last + 1]
            found.append(
                {
                    "entity_group": kind,
                    "score": float(certainty[first : last + 1].mean()),
                    "word": self._word(text, units),
                    "start": text.spans[units[0].start][0],
                    "end": text.spans[units[-1].stop - 1][1],
                }
            )
        return found

    def _word(self, text: TaggedText, units: Sequence[range]) -> str:
        if self.strategy == "simple":
            return self.join([text.tokens[unit.start] for unit in units])
        return self.join([self.join(text.tokens[unit.start : unit.stop]) for unit in units])

    def _runs(self, tags: list[str]) -> list[tuple[str, int, int]]:
        if self.scheme is not None:
            return [(kind, first, last) for kind, first, last in entities(tags, self.scheme)]
        return runs(tags)

    @cached_property
    def _rules(self) -> Rules | None:
        return None if self.scheme is None else Rules.of(self.labels, self.scheme)


def runs(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (type, first, last) of neighbouring tags that go together, O included, as transformers' pipeline does.

    A tag goes on with what stands before it if both have its type and it does not begin with B-; a tag with neither
    B- nor I- is a type of its own.
    """
    found: list[tuple[str, int, int]] = []
    before = None
    for place, tag in enumerate(tags):
        kind = tag[2:] if tag.startswith(("B-", "I-")) else tag
        if found and kind == before and not tag.startswith("B-"):
            found[-1] = (found[-1][0], found[-1][1], place)
        else:
            found.append((tag.split("-", 1)[-1], place, place))
        before = kind
    return found


def chosen(scores: NDArray[Any], rules: Rules | None) -> NDArray[np.int64]:
    """Return the label of each row of probabilities ``[n, C]``: the best one, or the best tags that keep rules."""
    if rules is None:
        return scores.argmax(axis=1)
    with np.errstate(divide="ignore"):
        return best_tags(np.log(scores.astype(np.float64)), rules)
