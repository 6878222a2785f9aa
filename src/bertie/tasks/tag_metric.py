"""Entities are counted the same whatever the scheme: tags are brought to a form that the metric knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.data.tag_schemes import OUTSIDE, convert_tags, guess_scheme, split_tag
from bertie.metrics import EntityMetric
from bertie.metrics.bootstrap import split
from bertie.metrics.entities import SCHEMES

UNSEEN = "types that the model lacks"
# letters of BIOES in schemes that have none of them
_ALIKE = {"S": "B", "E": "I"}


@dataclass(frozen=True)
class SchemeEntityMetric(EntityMetric):
    """As `EntityMetric`, for the tags of any scheme; types that the model lacks count as missed, under one name."""

    given: str = "BIO"  # the scheme of predictions and labels

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        return super().rows(*(list(map(self._as_scheme, texts)) for texts in (predictions, labels)))

    def _as_scheme(self, tags: Sequence[str]) -> list[str]:
        if self.given == "IOB1":
            tags = convert_tags(tags, "IOB1", "BIO")
        return [self._counted(tag) for tag in tags]

    def _counted(self, tag: str) -> str:
        found = self._seen.get(tag)
        if found is None:
            plain = plain_tag(tag, self.given)
            letter = plain[0] if plain[0] in SCHEMES[self.scheme] else _ALIKE.get(plain[0], "I")
            here = plain if plain == OUTSIDE else f"{letter}{plain[1:]}"
            found = self._seen[tag] = here if here in self.tags else f"{letter}-{UNSEEN}"
        return found

    @cached_property
    def _seen(self) -> dict[str, str]:
        return {}

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        """As `EntityMetric.figures`; types that the model lacks are one more, if there are any."""
        found, types = super().figures(sums), len(self.types)
        gold = split(sums[..., :-2], 3)[2][..., self.types.index(UNSEEN)]
        found["f1_macro"] = found["f1_macro"] * (types / np.maximum(types - 1 + (gold > 0), 1))
        return found

    def table(self, sums: NDArray) -> list[dict[str, Any]]:
        return [row for row in super().table(sums) if row["label"] != UNSEEN or row["support"]]


def entities_metric(labels: Sequence[str], scheme: str | None) -> EntityMetric:
    """Return the metric of entities for labels of a scheme; None guesses it from the labels."""
    scheme = guess_scheme(labels) if scheme is None else scheme
    counted = {"IOB1": "BIO", "plain": "IO"}.get(scheme, scheme)
    kinds = dict.fromkeys(tag[2:] for label in labels if (tag := plain_tag(label, scheme)) != OUTSIDE)
    tags = [OUTSIDE, *(f"{letter}-{kind}" for kind in (*kinds, UNSEEN) for letter in SCHEMES[counted])]
    return SchemeEntityMetric(tags, counted, given=scheme)


def plain_tag(tag: str, scheme: str) -> str:
    """Return a tag as ``O`` or prefix, dash and type, whatever the scheme."""
    prefix, kind = split_tag(tag, scheme)
    return OUTSIDE if prefix == OUTSIDE else f"{prefix}-{kind or 'entity'}"
