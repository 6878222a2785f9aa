"""Tags as they are written → as they are learned and scored: in their usual spelling, in one scheme."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from bertie.data.labels import LISTED, check_known, ordered_tags
from bertie.data.tag_schemes import OUTSIDE, convert_tags, guess_scheme, split_tag, usual_tag
from bertie.errors import counted

# schemes that say the same of any text
_EQUAL = ("BIO", "BIOES", "IOB1")


@dataclass(frozen=True)
class TagLabels:
    """Of token classification: a tag a word.

    Attributes:
        written: the scheme of the tags as they are written.
        wanted: that which they are brought to; another one than ``written`` only among those that say the same.
        spelled: a tag that is not spelled ``B-PER``, if there is any.
        known: all tags that a model has, in order; None allows any.
        owner: who has these, for messages.
    """

    written: str = "plain"
    wanted: str = "plain"
    spelled: str = ""
    known: tuple[str, ...] | None = None
    owner: str = "the model"

    @classmethod
    def of(cls, labels: Iterable[Sequence[str]]) -> Self:
        """Return how the tags of texts are written; IOB1 is learned as BIO, which says the same with more certainty."""
        sequences = list(labels)
        tags = {tag for text in sequences for tag in text}
        written = guess_scheme(tags, sequences)
        spelled = min((tag for tag in tags if written != "plain" and usual_tag(tag) != tag), default="")
        return cls(written, "BIO" if written == "IOB1" else written, spelled)

    def brought_to(self, scheme: str | None) -> Self:
        """Return how tags of a model's scheme are read, or of a model of which none is known: as they are written."""
        wanted = scheme if scheme in _EQUAL and self.written in _EQUAL else self.written
        return replace(self, wanted=wanted)

    def normalize(self, raw: Sequence[str], where: str, name: str, notes: Counter[str]) -> Sequence[str]:
        """As `Labelling.normalize`; tags of types that the owner of the known ones lacks stay, and are noted."""
        tags = list(map(usual_tag, raw)) if self.spelled else raw
        if self.written != self.wanted:
            tags = convert_tags(tags, self.written, self.wanted)
        if self.known is None or self._all.issuperset(tags):
            return tags
        tags = [self._own.get(usual_tag(tag), tag) for tag in tags]
        for tag in self._unknown(tags, where):
            what = f"Texts of {name} with tags such as {tag!r}, of a type that {self.owner} lacks: they count as missed"
            notes[what] += 1
        return tags

    def _unknown(self, tags: Collection[str], where: str) -> list[str]:
        """Return a tag of each type that the owner of the known ones lacks."""
        unknown = set(tags) - self._all - {OUTSIDE}
        if self._scheme != "plain":
            check_known(
                sorted(tag for tag in unknown if usual_tag(tag)[1:2] != "-"), self._all, where, self.owner, "tag"
            )
        kinds = {split_tag(tag, self._scheme)[1]: tag for tag in sorted(unknown, reverse=True)}
        return [tag for kind, tag in kinds.items() if kind not in self._kinds]

    def classes(self, labels: Iterable[Any]) -> list[str]:
        return ordered_tags(tag for tags in labels for tag in tags)

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        return replace(self, known=tuple(classes), owner=owner)

    def describe(self, classes: Sequence[str]) -> list[str]:
        how = [f"{self.spelled} is read as {usual_tag(self.spelled)}"] if self.spelled else []
        how += [f"{self.written} is read as {self.wanted}"] if self.written != self.wanted else []
        said = f"a tag a word, {counted(len(classes), 'tag')}: {', '.join(classes[:LISTED])}"
        said += ", …" * (len(classes) > LISTED)
        return [said + (f" ({', '.join(how)})" if how else "")]

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.known or ())

    @cached_property
    def _own(self) -> dict[str, str]:
        """The known tags by their usual spelling."""
        return {usual_tag(tag): tag for tag in self.known or ()}

    @cached_property
    def _scheme(self) -> str:
        return guess_scheme(self.known or ())

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(split_tag(tag, self._scheme)[1] for tag in self.known or ())
