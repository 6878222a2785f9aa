"""How the labels of a source are written, and the user's options for them."""

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
    """Converts labels as written to what a task is trained on, all rows in the same way; this one changes nothing."""

    known: tuple[str, ...] | None = None  # all allowed labels, in order; None allows any
    owner: str = "the model"  # where these come from, for messages
    kind: str | None = None  # of a classification, one of `KINDS`

    def normalize(self, raw: Any, where: str, name: str, notes: Notes) -> Any:
        """Return the label in the form a task is trained on, or None if the row has none."""
        return raw

    def classes(self, labels: Iterable[Any]) -> list[str]:
        """Return the classes of normalized labels, in order."""
        return []

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        """Return the labelling of another source that may have only these classes of the owner."""
        return self

    def converted_to(self, scheme: str | None) -> Self:
        """Return the labelling with tags converted to a model's scheme; None, where that is unknown, keeps them."""
        return self

    def describe(self, classes: Sequence[str]) -> list[str]:
        """Return a description of the labels."""
        return []

    def ambiguities(self, classes: Sequence[str]) -> list[str]:
        """Return a sentence for everything that was read one way but may have been meant differently."""
        return []

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.known or ())


AS_WRITTEN = Labelling()


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """The user's options for labels."""

    kind: str | None = None  # of a classification; None: guessed
    label_names: Sequence[str] = ()  # for multi-hot lists, for class numbers, or all classes in order
    label_map: Mapping[str, str] = field(default_factory=dict)  # label as written → its name; "" for no label
    first_choice: int | None = None  # the label of the first choice, 0 or 1; None: guessed

    def __post_init__(self) -> None:
        if self.kind not in (None, *KINDS):
            raise InputError(
                f"There is no kind {self.kind!r}; allowed are {', '.join(KINDS)}.{nearest(str(self.kind), KINDS)}"
            )
        if self.first_choice not in (None, 0, 1):
            how = spelled("first_choice", self.first_choice)
            raise InputError(f"{how} is not possible: choices are numbered from 0 or from 1.")

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
