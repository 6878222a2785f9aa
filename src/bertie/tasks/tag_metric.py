"""Entities are counted the same whatever the scheme: tags are brought to a form that the metric knows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bertie.tasks.metrics import Entities
from bertie.tasks.schemes import OUTSIDE, converted, guess_scheme, split_tag


@dataclass(frozen=True)
class SchemeEntities(Entities):
    """As `Entities`, for the tags of any scheme.

    Args:
        given: the scheme of predictions and labels.
    """

    given: str = "BIO"

    def rows(self, predictions: Any, labels: Any) -> NDArray:
        """As `Entities.rows`."""
        return super().rows(*(list(map(self._as_scheme, texts)) for texts in (predictions, labels)))

    def _as_scheme(self, tags: Sequence[str]) -> list[str]:
        if self.given == "IOB1":
            tags = converted(tags, "IOB1", "BIO")
        return [plain_tag(tag, self.given) for tag in tags]


def entities_metric(labels: Sequence[str], scheme: str | None, strict: bool = False) -> Entities:
    """Return the metric of entities for labels of a scheme; None guesses it from the labels."""
    scheme = guess_scheme(labels) if scheme is None else scheme
    tags = list(dict.fromkeys([OUTSIDE, *(plain_tag(label, scheme) for label in labels)]))
    if scheme == "IOB1":
        tags = list(dict.fromkeys([*tags, *(f"B{tag[1:]}" for tag in tags if tag != OUTSIDE)]))
    counted = {"IOB1": "BIO", "plain": "IO"}.get(scheme, scheme)
    return SchemeEntities(tags, counted, strict, given=scheme)


def plain_tag(tag: str, scheme: str) -> str:
    """Return a tag as ``O`` or prefix, dash and type, whatever the scheme."""
    prefix, kind = split_tag(tag, scheme)
    return OUTSIDE if prefix == OUTSIDE else f"{prefix}-{kind or 'entity'}"
