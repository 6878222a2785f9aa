"""Entities in tagged words: precision, recall and F1 over whole entities, counted as conlleval does."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.data.tag_schemes import OUTSIDE, TagTable, convert_tags, guess_scheme, split_tag
from bertie.errors import InputError, nearest
from bertie.metrics.counts import averages, class_table, ratio, split
from bertie.metrics.streaming import Additive, Given

SCHEMES = {"BIO": "BI", "BIOES": "BIES", "IO": "I"}
# what S and E become in schemes that lack them
_REPLACED = {"S": "B", "E": "I"}
UNSEEN = "types that the model lacks"


@dataclass(frozen=True)
class EntityMetric(Additive):
    """Predictions and labels: the tags of each text, such as ``["B-person", "I-person", "O"]``.

    Metrics: ``precision``, ``recall`` and ``f1`` over entities of all types (an entity is correct if its type and both
    its boundaries are), ``f1_macro`` (the mean over types), and ``accuracy`` over words.

    Tags need not be well-formed. As in conlleval, an entity is a run of tags of one type, and a new one begins at B or
    S and after E or S: an I with nothing to continue begins an entity.
    """

    tags: Sequence[str]  # every tag the model knows, including ``O``
    scheme: str = "BIO"
    meaning = (
        "f1 is the harmonic mean of precision and recall over entities, f1_macro the mean over types; accuracy: words"
    )
    main = "f1"
    names = ("precision", "recall", "f1", "f1_macro", "accuracy")

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise InputError(f"scheme is {self.scheme!r}; allowed are {', '.join(map(repr, SCHEMES))}.")
        for tag in self.tags:
            if tag != "O" and (tag[:1] not in SCHEMES[self.scheme] or tag[1:2] != "-" or not tag[2:]):
                allowed = ", ".join(f"{prefix}-TYPE" for prefix in SCHEMES[self.scheme])
                raise InputError(f"The tag {tag!r} does not belong to {self.scheme}; allowed are O, {allowed}.")

    @cached_property
    def types(self) -> list[str]:
        return sorted({tag[2:] for tag in self.tags if tag != "O"})

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        lengths = np.fromiter(map(len, labels), np.int64, len(labels))
        predicted_lengths = np.fromiter(map(len, predictions), np.int64, len(predictions))
        if len(wrong := np.flatnonzero(lengths != predicted_lengths)):
            at = wrong[0]
            raise InputError(
                f"Text {at} has {predicted_lengths[at]} predicted tags and {lengths[at]} labels; give one per word."
            )
        predicted, gold = self._numbers("prediction", predictions), self._numbers("label", labels)
        return self._counts(predicted, gold, lengths)

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        means = averages(*split(sums[..., :-2], 3))
        return {
            "precision": means["precision_micro"],
            "recall": means["recall_micro"],
            "f1": means["f1_micro"],
            "f1_macro": means["f1_macro"],
            "accuracy": ratio(sums[..., -2], sums[..., -1]),
        }

    def table(self, sums: NDArray) -> list[dict[str, Any]]:
        return class_table(self.types, *split(sums[:-2], 3))

    def notes(self, sums: NDArray) -> list[str]:
        _, predicted, gold = (counts.sum() for counts in split(sums[:-2], 3))
        notes = [] if gold else ["The labels contain no entity: precision, recall and F1 are 0."]
        return notes + (["No entity was predicted."] if gold and not predicted else [])

    def _counts(self, predicted: NDArray, gold: NDArray, lengths: NDArray) -> NDArray:
        """Return per text the counts of each type (correct, predicted, gold), of correct words, and of words."""
        text = np.repeat(np.arange(len(lengths)), lengths)
        is_first = np.zeros(len(text), np.bool_)
        is_first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
        types = len(self.types)
        counts = np.zeros((len(lengths), 3 * types + 2), np.int32)
        # of the entity that starts at each word: its last word and its type; -1 where none starts
        lasts, kinds = np.full((2, len(text)), -1), np.full((2, len(text)), -1)
        for side, tags in enumerate((predicted, gold)):
            starts, lasts_of_runs = self._table.runs(tags, is_first)
            lasts[side, starts], kinds[side, starts] = lasts_of_runs, self._type_of_tag[tags[starts]]
            np.add.at(counts, (text[starts], (side + 1) * types + kinds[side, starts]), 1)
        same = np.flatnonzero((lasts[0] == lasts[1]) & (kinds[0] == kinds[1]) & (kinds[0] >= 0))
        np.add.at(counts, (text[same], kinds[0, same]), 1)
        counts[:, -2] = np.bincount(text[predicted == gold], minlength=len(lengths))
        counts[:, -1] = lengths
        return counts

    def _numbers(self, what: str, texts: Any) -> NDArray:
        try:
            return np.fromiter((self._number_of[tag] for tag in chain.from_iterable(texts)), np.int64)
        except (KeyError, TypeError):
            text, tag = next((at, tag) for at, tags in enumerate(texts) for tag in tags if tag not in self.tags)
            raise InputError(
                f"The {what} of text {text} has the tag {tag!r}, which the model does not know."
                f"{nearest(str(tag), self.tags)}"
            ) from None

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {tag: number for number, tag in enumerate(self.tags)}

    @cached_property
    def _table(self) -> TagTable:
        return TagTable.of(self.tags, self.scheme)

    @cached_property
    def _type_of_tag(self) -> NDArray:
        return np.array([-1 if tag == "O" else self.types.index(tag[2:]) for tag in self.tags])


@dataclass(frozen=True)
class SchemeEntityMetric(EntityMetric):
    """`EntityMetric` for tags of any scheme; entities of types that the model lacks count as missed, under one name."""

    given_scheme: str = "BIO"  # that of predictions and labels

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        sides: list[Any] = [predictions, labels]
        if self.given_scheme == "IOB1":
            sides = [[convert_tags(tags, "IOB1", "BIO") for tags in texts] for texts in sides]
        own = {tag: self._own_tag(tag) for texts in sides for tag in set(chain.from_iterable(texts))}
        return super().rows(*([[own[tag] for tag in tags] for tags in texts] for texts in sides))

    def _own_tag(self, tag: str) -> str:
        """Return the tag of this metric's scheme that a given tag is counted as."""
        plain = plain_tag(tag, self.given_scheme)
        prefix = plain[0] if plain[0] in SCHEMES[self.scheme] else _REPLACED.get(plain[0], "I")
        own = plain if plain == OUTSIDE else f"{prefix}{plain[1:]}"
        return own if own in self.tags else f"{prefix}-{UNSEEN}"

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        """As `EntityMetric.compute`; the types that the model lacks count as one more type, if any occur."""
        found, types = super().compute(sums), len(self.types)
        gold = split(sums[..., :-2], 3)[2][..., self.types.index(UNSEEN)]
        found["f1_macro"] = found["f1_macro"] * (types / np.maximum(types - 1 + (gold > 0), 1))
        return found

    def table(self, sums: NDArray) -> list[dict[str, Any]]:
        return [row for row in super().table(sums) if row["label"] != UNSEEN or row["support"]]


def entities_metric(labels: Sequence[str], scheme: str | None) -> EntityMetric:
    """Return the entity metric for labels of a scheme; None guesses the scheme from the labels."""
    scheme = guess_scheme(labels) if scheme is None else scheme
    counted = {"IOB1": "BIO", "plain": "IO"}.get(scheme, scheme)
    kinds = dict.fromkeys(tag[2:] for label in labels if (tag := plain_tag(label, scheme)) != OUTSIDE)
    tags = [OUTSIDE, *(f"{letter}-{kind}" for kind in (*kinds, UNSEEN) for letter in SCHEMES[counted])]
    return SchemeEntityMetric(tags, counted, given_scheme=scheme)


def plain_tag(tag: str, scheme: str) -> str:
    """Return a tag as ``O`` or ``PREFIX-TYPE``, whatever its scheme."""
    prefix, kind = split_tag(tag, scheme)
    return OUTSIDE if prefix == OUTSIDE else f"{prefix}-{kind or 'entity'}"
