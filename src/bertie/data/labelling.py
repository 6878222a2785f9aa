"""From a label as it is written to what a task learns: found for a whole source, then the same for every row of it."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

from bertie.data.answer_parsers import WrittenChoice, first_choice
from bertie.data.cells import BadRow, flag_in, name_in, number_in, number_or_none, shown
from bertie.data.labels import (
    LISTED,
    NO_LABEL,
    Raw,
    are_pointed,
    as_whole,
    by_spelling,
    check_kind,
    check_known,
    find_separator,
    guess_kind,
    is_hot,
    matching,
    no_labels,
    one_of,
    ordered,
    places,
    split_cell,
)
from bertie.data.tag_labels import TagLabels
from bertie.errors import InputError, counted, spelled

Notes = Counter[str]

# names, without their case, that are seldom meant as a class: what pandas and Excel write where nothing is
_NOTHING = ("-1", "nan", "null", "#n/a")


class Labelling(Protocol):
    """How the labels of a source are written."""

    def normalize(self, raw: Any, where: str, name: str, notes: Notes) -> Any:
        """Return a label in the form in which it is learned; None: the row has none."""

    def classes(self, labels: Iterable[Any]) -> list[str]:
        """Return the classes, in order, of labels in the form in which they are learned."""

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        """Return how labels of another source are written, in which no others may stand than these of the owner."""

    def describe(self, classes: Sequence[str]) -> list[str]:
        """Return in words what the labels are."""


@dataclass(frozen=True)
class ClassLabels:
    """Of a classification: one name, several, or a number.

    Attributes:
        kind: one of `bertie.data.labels.KINDS`.
        known: all labels there may be, in order; None allows any.
        owner: who has these, for messages.
        separator: what parts several in a cell; empty with ``known``: whatever makes known ones of it.
        hot: the label of each place in lists of 0 and 1.
        fixed: the classes, in order, where they do not follow from the labels alone.
        by_number: labels are numbers of the fixed classes.
        none: names that mean that there is no label.
        is_pointed: labels are whole numbers with a decimal point, which is left off.
    """

    kind: str
    known: tuple[str, ...] | None = None
    owner: str = "the model"
    separator: str = ""
    hot: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    by_number: bool = False
    none: frozenset[str] = frozenset()
    is_pointed: bool = False

    def normalize(self, raw: Raw, where: str, name: str, notes: Notes) -> Any:
        raw = _as_whole(raw) if self.is_pointed else raw
        raw = self._from_flags(raw, where) if self.hot and is_hot(raw) else raw
        if (label := one_of(raw)) in ("", *self.none):
            notes[f"Rows of {name} whose label is {label!r}, which says that there is none; they are left out"] += 1
            return None
        if self.kind == "regression":
            return number_in(label, "label", where)
        names = [self._matched(one, name, notes) for one in self._names(raw)]
        if self.known is not None:
            check_known(names, self._all, where, self.owner)
        if self.kind == "multi-label":
            return list(dict.fromkeys(names))
        if len(names) != 1:
            how = spelled("kind", "multi-label")
            raise BadRow(
                f"The label in {where} is a list, {shown(raw)}, where one label belongs; {how} allows several."
            )
        return names[0]

    def classes(self, labels: Iterable[Any]) -> list[str]:
        if self.fixed or self.kind == "regression":
            return list(self.fixed)
        return ordered(name for label in labels for name in ([label] if isinstance(label, str) else label))

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        if self.kind == "regression":
            return self
        none = self.none | {name for name in NO_LABEL if name not in classes}
        hot = self.hot or (() if any(flag_in(name) is not None for name in classes) else tuple(classes))
        is_pointed = self.is_pointed and list(map(as_whole, classes)) == list(classes)
        return replace(self, known=tuple(classes), owner=owner, none=none, hot=hot, is_pointed=is_pointed)

    def describe(self, classes: Sequence[str]) -> list[str]:
        if self.kind == "regression":
            return ["a number"]
        listed = ", ".join(classes[:LISTED]) + (", …" if len(classes) > LISTED else "")
        kind = "several labels" if self.kind == "multi-label" else "one label"
        how = f", parted by {self.separator!r}" if self.separator else ""
        how += f" ({classes[0]}.0 is read as {classes[0]})" if self.is_pointed and classes else ""
        return [f"{kind}{how}, {counted(len(classes), 'class', 'classes')}: {listed}"]

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self.known or ())

    @cached_property
    def _spelled(self) -> dict[str, str]:
        return by_spelling(self.known or ())

    def _from_flags(self, raw: Raw, where: str) -> list[str]:
        if len(raw) != len(self.hot):
            if self.fixed:
                raise BadRow(
                    f"The label in {where} is a list of {counted(len(raw), 'number')} for {len(self.hot)} labels."
                )
            return list(raw)
        return [name for name, flag in zip(self.hot, raw, strict=True) if flag_in(flag)]

    def _names(self, raw: Raw) -> list[str]:
        if isinstance(raw, list):
            return raw
        if self.kind != "multi-label" or raw in self._all:
            return [raw]
        return split_cell(raw, self.separator or find_separator([raw], "multi-label", None) or "|")

    def _matched(self, label: str, name: str, notes: Notes) -> str:
        if self.by_number and label in map(str, range(len(self.fixed))):
            label = self.fixed[int(label)]
        if self.known is None or label in self._all:
            return label
        known = matching(label, self._spelled)
        if known is None:
            return label
        notes[f"Labels {label!r} of {name} that are read as {known!r}"] += 1
        return known


@dataclass(frozen=True)
class ChoiceLabels:
    """Of multiple choice: the right one's number, counted from ``first``, its letter or its text."""

    first: int = 0
    is_guess: bool = False

    def normalize(self, raw: WrittenChoice, where: str, name: str, notes: Notes) -> int:
        del name, notes
        return raw.number(self.first, where)

    def classes(self, labels: Iterable[Any]) -> list[str]:
        """As `Labelling.classes`: there are none."""
        del labels
        return []

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        """As `Labelling.restrict`: other sources count alike."""
        del classes, owner
        return self

    def describe(self, classes: Sequence[str]) -> list[str]:
        del classes
        why = " (no label is 0, and some are the number of choices)" if self.is_guess else ""
        return [f"choices counted from {self.first}{why}"]


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What a user says of labels.

    Attributes:
        kind: of a classification; None: guessed.
        names: of the places of lists of 0 and 1, or of class numbers, or all classes in their order.
        map: a label as it is written → what it is called; "" for none.
        first_choice: the number that labels give the first choice, 0 or 1; None: guessed.
    """

    kind: str | None = None
    names: Sequence[str] = ()
    map: Mapping[str, str] = field(default_factory=dict)
    first_choice: int | None = None

    def __post_init__(self) -> None:
        check_kind(self.kind)
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
        """Return the options that `bertie.finetune` calls so."""
        names = {str(name_in(name)): str(other or "") for name, other in (label_map or {}).items()}
        return cls(kind=kind, names=list(map(str, label_names or ())), map=names, first_choice=first_choice)

    def to_dict(self) -> dict[str, Any]:
        """Return the given options as JSON values."""
        named = {
            "kind": self.kind,
            "label_names": list(self.names) or None,
            "label_map": dict(self.map) or None,
            "first_choice": self.first_choice,
        }
        return {name: value for name, value in named.items() if value is not None}


def find_labelling(
    task: str, labels: Sequence[Any], options: LabelOptions, column: Any = None, flags: Collection[str] = ()
) -> Labelling | None:
    """Return how the labels of a source are written, from all of them (or the first); None where a task has no such."""
    if task == "token-classification":
        return TagLabels.of(labels)
    if task == "multiple-choice":
        first = first_choice(labels) if options.first_choice is None else options.first_choice
        return ChoiceLabels(first, is_guess=options.first_choice is None and first == 1)
    if task != "sequence-classification":
        return None
    is_pointed = are_pointed(labels)
    labels = list(map(_as_whole, labels)) if is_pointed else labels
    none = no_labels(labels, options.kind)
    kept = [label for label in labels if one_of(label) not in ("", *none)]
    if length := len(column) if isinstance(column, list) else places(kept):
        return _of_places(length, options, tuple(column if isinstance(column, list) else flags), none)
    separator = find_separator(kept, options.kind, column)
    kind = options.kind or guess_kind(kept, separator)
    found = ClassLabels(kind, separator=separator, none=none, is_pointed=is_pointed)
    if not options.names or found.kind == "regression":
        return found
    numbers = {str(number) for number in range(len(options.names))}
    by_number = all(name in numbers for label in kept for name in ([label] if isinstance(label, str) else label))
    return replace(found.restrict(options.names, "label_names"), fixed=tuple(options.names), by_number=by_number)


def _as_whole(raw: Raw) -> Raw:
    return as_whole(raw) if isinstance(raw, str) else list(map(as_whole, raw))


def _of_places(length: int, options: LabelOptions, columns: tuple[str, ...], none: frozenset[str]) -> ClassLabels:
    names = tuple(options.names) or columns or tuple(map(str, range(length)))
    if len(names) != length:
        listed = ", ".join(names)
        raise InputError(
            f"{spelled('label_names')} has {counted(len(names), 'name')}, {listed}; there are {length} labels."
        )
    return ClassLabels(options.kind or "multi-label", hot=names, fixed=names, none=none)


def find_doubts(labelling: Labelling | None, classes: Sequence[str]) -> list[str]:
    """Return a sentence for each thing that was read in one way and may mean another."""
    if not isinstance(labelling, ClassLabels):
        return []
    found = []
    if labelling.hot == tuple(map(str, range(len(labelling.hot)))) and labelling.hot:
        how = spelled("label_names", ["…"] * len(labelling.hot))
        found.append(
            f"The labels are lists of 0 and 1 that nothing names; they are called by their places: {how} names them."
        )
    is_number = all(number_or_none(name) is not None for name in classes)
    for name in classes:
        if name.lower() in _NOTHING:
            how = spelled("label_map", {name: ""})
            numbers = f", and {spelled('kind', 'regression')} learns numbers" if is_number else ""
            found.append(f"{name} is taken for a class; {how} leaves out such rows, as without a label{numbers}.")
        if (same := next((one for one in classes if one > name and one.lower() == name.lower()), None)) is not None:
            how = spelled("label_map", {name: same})
            found.append(f"{name!r} and {same!r} are two classes; {how} makes them one.")
    return found
