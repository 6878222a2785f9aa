"""How the labels of a source are written, and what a user says of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from bertie.data.cells import name_in
from bertie.errors import InputError, nearest, spelled

KINDS = ("single-label", "multi-label", "regression")
LISTED = 10
Notes = Counter[str]


@dataclass(frozen=True)
class Labelling:
    """From a label as it is written to what a task learns, the same for all rows; this one changes nothing."""

    known: tuple[str, ...] | None = None  # all labels there may be, in order; None allows any
    owner: str = "the model"  # who has these, for messages
    kind: str | None = None  # of a classification, one of `KINDS`

    def normalize(self, raw: Any, where: str, name: str, notes: Notes) -> Any:
        """Return a label in the form in which it is learned; None: the row has none."""
        return raw

    def classes(self, labels: Iterable[Any]) -> list[str]:
        """Return the classes, in order, of labels in the form in which they are learned."""
        return []

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        """Return how labels of another source are written, in which no others may stand than these of the owner."""
        return self

    def converted_to(self, scheme: str | None) -> Self:
        """Return how tags of a model's scheme are read, or of a model of which none is known: as they are written."""
        return self

    def describe(self, classes: Sequence[str]) -> list[str]:
        """Return in words what the labels are."""
        return []

    def ambiguities(self, classes: Sequence[str]) -> list[str]:
        """Return a sentence for each thing that was read in one way and may mean another."""
        return []

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.known or ())


AS_WRITTEN = Labelling()


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What a user says of labels."""

    kind: str | None = None  # of a classification; None: guessed
    label_names: Sequence[str] = ()  # of places in lists of 0 and 1, of class numbers, or all classes in their order
    label_map: Mapping[str, str] = field(default_factory=dict)  # as a label is written → what it is called; "" for none
    first_choice: int | None = None  # the number that labels give the first choice, 0 or 1; None: guessed

    def __post_init__(self) -> None:
        if self.kind not in (None, *KINDS):
            raise InputError(
                f"There is no kind {self.kind!r}; allowed are {', '.join(KINDS)}.{nearest(str(self.kind), KINDS)}"
            )
        if self.first_choice not in (None, 0, 1):
            how = spelled("first_choice", self.first_choice)
            raise InputError(f"{how} cannot be: choices are counted from 0 or from 1.")

    @classmethod
    def of(
        cls,
        kind: str | None = None,
        label_names: Sequence[str] | None = None,
        label_map: Mapping[Any, str] | None = None,
        first_choice: int | None = None,
    ) -> Self:
        """Return the options of `bertie.finetune`, in which labels may be numbers."""
        renamed = {str(name_in(name)): str(other or "") for name, other in (label_map or {}).items()}
        names = list(map(str, label_names or ()))
        return cls(kind=kind, label_names=names, label_map=renamed, first_choice=first_choice)

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value not in (None, (), [], {})}
