"""Entities from piece scores: pieces are merged into words, words tagged, runs of tags joined and located in the text.

Many texts are decoded at once, concatenated: T pieces in total, U units (pieces or words), C labels.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertie.data.tag_schemes import Rules, TagTable, best_tags
from bertie.tasks.alignment import MERGES, Alignment, Group, continuation_mask, joined_offsets
from bertie.tasks.arrays import Array, Integers
from bertie.tasks.windows import first_piece
from bertie.tokenization.pieces import Span

STRATEGIES = ("none", "simple", *MERGES)
Entities = list[dict[str, Any]]


class Source(NamedTuple):
    """The pieces of one text that were read."""

    tokens: Sequence[str]  # an unknown token is replaced by its characters in the text
    spans: Sequence[Span]  # the characters of each
    place: int  # the position of the first piece in its row


@dataclass(frozen=True)
class Grouper:
    """Groups tokens into entities, in the form of transformers' pipeline."""

    labels: Sequence[str]
    strategy: str  # one of STRATEGIES
    ignored: Collection[str]  # the labels and entity types to leave out
    scheme: str | None  # constrains tags and delimits entities; None takes every unit's best label
    tokenizer: Any
    delimiter: str  # joins the words of a text that came as words

    def answers(self, scores: Array, groups: Sequence[Group]) -> list[Entities]:
        """Return for each text one entry per token with the strategy "none", else one per entity.

        ``scores [T, C]`` are the label probabilities of the pieces of all texts that were read.
        """
        found: list[Entities] = [[] for _ in groups]
        if not len(scores):
            return found
        sizes = [group.read.stop - group.read.start for group in groups]
        texts = np.repeat(np.arange(len(sizes)), sizes)
        begins = np.cumsum(sizes) - sizes
        firsts, bounds, scores = self._units(scores, groups)
        tags = best_labels(scores, np.bincount(texts[firsts], minlength=len(sizes)), self._rules)
        certainty = scores[np.arange(len(tags)), tags].tolist()
        names, starts, lasts = self._spans(tags, texts[firsts])
        source = None
        for first, last in zip(starts.tolist(), lasts.tolist(), strict=True):
            number = int(texts[firsts[first]])
            # spans come in the order of the texts, so each text's source is made once, and only if it has an answer
            source = source if source is not None and found[number] else self._source(groups[number])
            places = (bounds[first : last + 2] - begins[number]).tolist()
            found[number].append(self._entity(names[tags[first]], certainty[first : last + 1], source, places))
        return found

    def _units(self, scores: Array, groups: Sequence[Group]) -> tuple[Integers, Integers, Array]:
        """Return the first piece ``[U]`` of each unit, the same with T at the end, and the scores ``[U, C]``."""
        if self.strategy not in MERGES:
            firsts = np.arange(len(scores))
            return firsts, np.append(firsts, len(scores)), scores
        firsts = np.flatnonzero(~np.concatenate(list(map(self._continues, groups))))
        bounds = np.append(firsts, len(scores))
        words = Alignment(np.arange(len(firsts)), firsts, bounds[1:], len(firsts), len(scores))
        return firsts, bounds, words.word_scores(scores, self.strategy)

    def _spans(self, tags: Integers, texts: Integers) -> tuple[Sequence[str], Integers, Integers]:
        """Return the tags' names, and each answer's first and last unit, from the tags and texts of units ``[U]``."""
        names, starts, lasts = self.labels, np.arange(len(tags)), np.arange(len(tags))
        if self.strategy != "none":
            names = self._table.names
            starts, lasts = self._table.runs(tags, np.diff(texts, prepend=-1) != 0)
        kept = np.array([name not in self.ignored for name in names], np.bool_)[tags[starts]]
        return names, starts[kept], lasts[kept]

    def _entity(self, kind: str, certainty: Sequence[float], source: Source, places: Sequence[int]) -> dict[str, Any]:
        """Return an answer; its unit ``i`` has the tokens ``places[i]:places[i + 1]``."""
        first, stop = places[0], places[-1]
        characters = {"start": source.spans[first][0], "end": source.spans[stop - 1][1]}
        if self.strategy == "none":
            known = {"score": certainty[0], "index": source.place + first, "word": source.tokens[first]}
            return {"entity": kind, **known, **characters}
        tokens, join = source.tokens[first:stop], self.tokenizer.convert_tokens_to_string
        if self.strategy != "simple":
            tokens = [join(source.tokens[start:end]) for start, end in pairwise(places)]
        score = sum(certainty) / len(certainty)
        return {"entity_group": kind, "score": score, "word": join(tokens), **characters}

    def _source(self, group: Group) -> Source:
        pieces, read = group.pieces, group.read
        text, spans = self._placed(group)
        tokens, unknown = pieces.tokens, self.tokenizer.unk_token
        if unknown in tokens:
            tokens = [
                text[start:stop] if token == unknown else token
                for token, (start, stop) in zip(tokens, spans, strict=True)
            ]
        return Source(tokens[read], spans[read], first_piece(group.encodings[0]) + read.start)

    def _placed(self, group: Group) -> tuple[str, Sequence[Span]]:
        """Return a text, joining words, and the character spans of its pieces in it."""
        text, pieces = group.text, group.pieces
        if not isinstance(text, list):
            return text, pieces.offsets
        return self.delimiter.join(text), joined_offsets(pieces.offsets, pieces.word_ids, text, self.delimiter)

    def _continues(self, group: Group) -> NDArray[np.bool_]:
        """Return which pieces continue a word: with a scheme one of the user's words, else one of the tokenizer's."""
        pieces, read = group.pieces, group.read
        if self.scheme is not None and isinstance(group.text, list):
            words = np.array(pieces.word_ids[read])
            return np.concatenate((np.zeros(1, np.bool_), words[1:] == words[:-1]))[: len(words)]
        ids = np.asarray(pieces.ids, np.int64)[read]
        if self.tokenizer.continuing_subword_prefix is None:
            # tokens do not mark words: a piece continues a word if no space precedes it
            text, spans = self._placed(group)
            starts = (start for start, _ in spans[read])
            has_no_space = [start > 0 and " " not in text[start - 1 : start + 1] for start in starts]
            found = np.array(has_no_space, np.bool_) & (ids != self.tokenizer.unk_token_id)
        else:
            found = self._continuing[ids]
        found[:1] = False
        return found

    @cached_property
    def _continuing(self) -> NDArray[np.bool_]:
        return continuation_mask(self.tokenizer)

    @cached_property
    def _rules(self) -> Rules | None:
        return None if self.scheme is None else Rules.of(self.labels, self.scheme)

    @cached_property
    def _table(self) -> TagTable:
        return TagTable.of(self.labels, self.scheme)


def best_labels(scores: Array, sizes: Sequence[int] | Integers, rules: Rules | None) -> Integers:
    """Return the label of each unit: the best one, or with rules each text's most probable sequence that obeys them.

    ``scores`` are probabilities ``[U, C]`` of the units of all texts, ``sizes`` the number of units of each text.
    """
    if rules is None:
        return scores.argmax(axis=1)
    with np.errstate(divide="ignore"):
        return best_tags(np.log(scores.astype(np.float64)), rules, sizes)
