"""What the labels of a classification are: one name a text, several, or a number; and in which order classes stand."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from bertie.data.cells import flag_in, number_in, number_or_none, shown
from bertie.data.labelling import LISTED, Labelling, LabelOptions, Notes
from bertie.data.record import BadRow
from bertie.errors import InputError, counted, nearest, plural, spelled
from bertie.messages import listed

BAR = "|"
SEPARATORS = (BAR, ";", ",")
NO_LABEL = ("-", "-1")
"""Written for an unknown label: in SNLI where annotators disagreed, in GLUE where the label is secret."""
# names, without their case, that are seldom meant as a class: what pandas and Excel write where nothing is
_NOTHING = ("-1", "nan", "null", "#n/a")

Raw = str | list[str]

# columns of these names may hold several labels
_PLURAL = ("labels", "classes", "targets", "categories", "emotions", "topics", "genres", "tags")
_GENERIC = re.compile(r"label_(\d+)")
# as pandas writes whole numbers of a column in which some are missing
_WHOLE = re.compile(r"(-?\d+)(\.0+)?")


def guess_kind(labels: Sequence[Raw], separator: str = "") -> str:
    if any(isinstance(label, list) and len(label) != 1 for label in labels) or separator:
        return "multi-label"
    numbers = [number for label in labels if (number := number_or_none(unwrapped(label))) is not None]
    # of labels that are mostly numbers, those that are none are bad rows then
    if 2 * len(numbers) >= len(labels) and not all(number.is_integer() for number in numbers):
        return "regression"
    return "single-label"


def unwrapped(label: Raw) -> Raw:
    """Return the label of a list that holds one; all others as they are."""
    return label[0] if isinstance(label, list) and len(label) == 1 else label


def find_separator(labels: Sequence[Raw], kind: str | None, column: object) -> str:
    """Return what parts several labels in a cell; empty if nothing does."""
    if kind not in (None, "multi-label") or (kind is None and str(column).strip().casefold() not in _PLURAL):
        return ""
    cells = Counter(label for label in labels if isinstance(label, str))
    for separator in SEPARATORS:
        joined = [cell for cell in cells if separator in cell]
        # it belongs to the names where no part stands in another cell, and each cell in several rows
        if joined and (kind or separator == BAR or recur(cells, separator) or min(cells[one] for one in joined) == 1):
            return separator
    return ""


def recur(cells: Collection[str], separator: str) -> bool:
    """Whether some part of a cell stands in another one."""
    parts = Counter(part for cell in cells for part in set(split_cell(cell, separator)))
    return any(parts[part] > 1 for cell in cells if separator in cell for part in split_cell(cell, separator))


def split_cell(cell: str, separator: str) -> list[str]:
    return [name for part in cell.split(separator) if (name := part.strip())]


def all_names(labels: Iterable[Raw]) -> Iterator[str]:
    return (name for label in labels for name in ([label] if isinstance(label, str) else label))


def without_decimals(name: str) -> str:
    """Return the label of a whole number without its decimal point, 1 for 1.0; all others as they are."""
    found = _WHOLE.fullmatch(name)
    return found[1] if found else name


def _all_without_decimals(raw: Raw) -> Raw:
    return without_decimals(raw) if isinstance(raw, str) else list(map(without_decimals, raw))


def have_decimal_points(labels: Iterable[Raw]) -> bool:
    """Whether all labels are whole numbers and some are written with a decimal point."""
    names = list(filter(None, all_names(labels)))
    return all(map(_WHOLE.fullmatch, names)) and any("." in name for name in names)


def no_labels(labels: Sequence[Raw], kind: str | None) -> frozenset[str]:
    """Return which of `NO_LABEL` mean that there is no label."""
    names = {label for one in labels if isinstance(label := unwrapped(one), str)}
    found = {"-"} if "-" in names and "+" not in names else set()
    others = names - set(NO_LABEL)
    numbers = sorted(number for name in others if (number := number_or_none(name)) is not None)
    # beside fewer class numbers, as in −1, 0, 1, it may well be a class
    is_counted = len(others) > 2 and numbers == [*range(len(others))]
    if "-1" in names and kind != "regression" and (is_counted or not numbers):
        found.add("-1")
    return frozenset(found)


def multi_hot_length(labels: Sequence[Raw]) -> int:
    """Return the length of lists of 0 and 1 that say for each label whether a text has it; 0 if they are none."""
    lengths = {len(label) if isinstance(label, list) and is_multi_hot(label) else 0 for label in labels}
    return lengths.pop() if len(lengths) == 1 and min(lengths) > 1 else 0


def is_multi_hot(label: Raw) -> bool:
    return isinstance(label, list) and all(flag_in(one) is not None for one in label)


def matching(name: str, known: Mapping[str, str]) -> str | None:
    """Return the known name that is the same in other letters, or as LABEL_0 and 0.0 are 0."""
    return known.get(_spelling(name))


def by_spelling(known: Iterable[str]) -> dict[str, str]:
    """Return names for `matching`, without those that differ from another in letters only."""
    names = list(known)
    counts = Counter(map(_spelling, names))
    return {_spelling(name): name for name in names if counts[_spelling(name)] == 1}


def _spelling(name: str) -> str:
    folded = name.casefold()
    generic = _GENERIC.fullmatch(folded)
    return generic[1] if generic else without_decimals(folded)


def check_known(names: Iterable[str], known: Collection[str], where: str, owner: str, what: str = "label") -> None:
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            if what == "label" and not hint:
                hint = f" ({spelled('label_map', {name: '…'})} says which of them it is.)" if name.isdecimal() else ""
            raise BadRow(
                f"Unknown {what} {shown(name)} in {where}; {owner} has {listed(ordered(known), LISTED)}.{hint}"
            )


def find_joined(labels: Sequence[str], name: str) -> list[str]:
    """Return a sentence if labels seem to be several in one, though they were not parted."""
    cells = Counter(labels)
    for sign, separator in zip(("bar", "semicolon", "comma"), SEPARATORS, strict=True):
        count = sum(times for cell, times in cells.items() if separator in cell)
        if count and (separator == BAR or recur(cells, separator)):
            how = spelled("kind", "multi-label")
            return [
                f"{counted(count, 'label')} of {name} {plural(count, 'holds', 'hold')} a {sign}; {how} takes it "
                "for what parts several labels."
            ]
    return []


def ordered(names: Iterable[str]) -> list[str]:
    """Return names in the order of class numbers: numbers by value, then names by the alphabet."""
    return sorted(set(names), key=lambda name: (number_or_none(name) is None, number_or_none(name) or 0.0, name))


def ordered_tags(tags: Iterable[str]) -> list[str]:
    """Return tags in the order of class numbers: O, then by type, B- before I-."""

    def key(tag: str) -> tuple[bool, str, str]:
        prefix, dash, kind = tag.partition("-")
        return tag != "O", kind if dash else tag, prefix

    return sorted(set(tags), key=key)


def find_class_labels(
    labels: Sequence[Raw], options: LabelOptions, column: str | list[str] | None, flags: Sequence[str]
) -> "ClassLabels":
    """Return how labels are written in a column; ``flags`` are columns that name the places of lists of 0 and 1."""
    decimal = have_decimal_points(labels)
    labels = list(map(_all_without_decimals, labels)) if decimal else labels
    none = no_labels(labels, options.kind)
    kept = [label for label in labels if unwrapped(label) not in ("", *none)]
    if length := len(column) if isinstance(column, list) else multi_hot_length(kept):
        columns = column if isinstance(column, list) else flags
        names = tuple(options.label_names or columns or map(str, range(length)))
        if len(names) != length:
            has = f"{counted(len(names), 'name')}, {', '.join(names)}"
            raise InputError(f"{spelled('label_names')} has {has}; there are {length} labels.")
        return ClassLabels(kind=options.kind or "multi-label", multi_hot=names, fixed=names, none=none)
    separator = find_separator(kept, options.kind, column)
    kind = options.kind or guess_kind(kept, separator)
    found = ClassLabels(kind=kind, separator=separator, none=none, decimal=decimal)
    if not options.label_names or kind == "regression":
        return found
    names = tuple(options.label_names)
    by_number = set(map(str, range(len(names)))).issuperset(all_names(kept))
    return replace(found.restrict(names, "label_names"), fixed=names, by_number=by_number)


@dataclass(frozen=True, kw_only=True)
class ClassLabels(Labelling):
    """One name, several, or a number."""

    separator: str = ""  # what parts several in a cell; empty with ``known``: whatever makes known ones of it
    multi_hot: tuple[str, ...] = ()  # the label of each place in lists of 0 and 1
    fixed: tuple[str, ...] = ()  # the classes, in order, where they do not follow from the labels alone
    by_number: bool = False  # labels are numbers of the fixed classes
    none: frozenset[str] = frozenset()  # names that mean that there is no label
    decimal: bool = False  # labels are whole numbers with a decimal point, which is left off

    def normalize(self, raw: Raw, where: str, name: str, notes: Notes) -> Any:
        raw = _all_without_decimals(raw) if self.decimal else raw
        raw = self._from_flags(raw, where) if self.multi_hot and is_multi_hot(raw) else raw
        if (label := unwrapped(raw)) in ("", *self.none):
            notes[f"Rows of {name} whose label is {label!r}, which says that there is none; they are left out"] += 1
            return None
        if self.kind == "regression":
            return number_in(label, where)
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
        return ordered(all_names(labels))

    def restrict(self, classes: Sequence[str], owner: str) -> Self:
        if self.kind == "regression":
            return self
        none = self.none | {name for name in NO_LABEL if name not in classes}
        multi_hot = self.multi_hot or (() if any(flag_in(name) is not None for name in classes) else tuple(classes))
        decimal = self.decimal and list(map(without_decimals, classes)) == list(classes)
        return replace(self, known=tuple(classes), owner=owner, none=none, multi_hot=multi_hot, decimal=decimal)

    def describe(self, classes: Sequence[str]) -> list[str]:
        if self.kind == "regression":
            return ["a number"]
        names = ", ".join(classes[:LISTED]) + ", …" * (len(classes) > LISTED)
        kind = "several labels" if self.kind == "multi-label" else "one label"
        how = f", parted by {self.separator!r}" if self.separator else ""
        how += f" ({classes[0]}.0 is read as {classes[0]})" if self.decimal and classes else ""
        return [f"{kind}{how}, {counted(len(classes), 'class', 'classes')}: {names}"]

    def ambiguities(self, classes: Sequence[str]) -> list[str]:
        found = []
        if self.multi_hot and self.multi_hot == tuple(map(str, range(len(self.multi_hot)))):
            how = spelled("label_names", ["…"] * len(self.multi_hot))
            found.append(
                "The labels are lists of 0 and 1 that nothing names; they are called by their places: "
                f"{how} names them."
            )
        is_number = all(number_or_none(name) is not None for name in classes)
        for name in classes:
            if name.lower() in _NOTHING:
                how = spelled("label_map", {name: ""})
                numbers = f", and {spelled('kind', 'regression')} learns numbers" if is_number else ""
                found.append(f"{name} is taken for a class; {how} leaves out such rows, as without a label{numbers}.")
            same = next((one for one in classes if one > name and one.lower() == name.lower()), None)
            if same is not None:
                how = spelled("label_map", {name: same})
                found.append(f"{name!r} and {same!r} are two classes; {how} makes them one.")
        return found

    @cached_property
    def _spelled(self) -> dict[str, str]:
        return by_spelling(self.known or ())

    def _from_flags(self, raw: Raw, where: str) -> list[str]:
        if len(raw) != len(self.multi_hot):
            if self.fixed:
                raise BadRow(
                    f"The label in {where} is a list of {counted(len(raw), 'number')} for {len(self.multi_hot)} labels."
                )
            return list(raw)
        return [name for name, flag in zip(self.multi_hot, raw, strict=True) if flag_in(flag)]

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
