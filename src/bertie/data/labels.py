"""The labels of a classification: one name per text, several, or a number; and the order of the classes."""

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
"""Placeholders of an unknown label: in SNLI if annotators disagreed, in GLUE if the label is secret."""
# names, ignoring case, that are seldom meant as a class: pandas and Excel write them for missing values
_NOTHING = ("-1", "nan", "null", "#n/a")

Raw = str | list[str]

# columns with these names may hold several labels
_PLURAL = ("labels", "classes", "targets", "categories", "emotions", "topics", "genres", "tags")
_GENERIC = re.compile(r"label_(\d+)")
# pandas writes integers as 1.0 if some of the column are missing
_WHOLE = re.compile(r"(-?\d+)(\.0+)?")


def guess_kind(labels: Sequence[Raw], separator: str = "") -> str:
    if any(isinstance(label, list) and len(label) != 1 for label in labels) or separator:
        return "multi-label"
    numbers = [number for label in labels if (number := number_or_none(unwrapped(label))) is not None]
    # if most labels are numbers, the others are bad rows
    if 2 * len(numbers) >= len(labels) and not all(number.is_integer() for number in numbers):
        return "regression"
    return "single-label"


def unwrapped(label: Raw) -> Raw:
    """Return the label of a list of one; all other labels unchanged."""
    return label[0] if isinstance(label, list) and len(label) == 1 else label


def find_separator(labels: Sequence[Raw], kind: str | None, column: object) -> str:
    """Return the separator of several labels in one cell; empty if there is none."""
    if kind not in (None, "multi-label") or (kind is None and str(column).strip().casefold() not in _PLURAL):
        return ""
    cells = Counter(label for label in labels if isinstance(label, str))
    for separator in SEPARATORS:
        joined = [cell for cell in cells if separator in cell]
        # it is part of the names if no part occurs in another cell, and each cell occurs in several rows
        if joined and (kind or separator == BAR or recur(cells, separator) or min(cells[one] for one in joined) == 1):
            return separator
    return ""


def recur(cells: Collection[str], separator: str) -> bool:
    """Whether some part of a cell also occurs in another one."""
    parts = Counter(part for cell in cells for part in set(split_cell(cell, separator)))
    return any(parts[part] > 1 for cell in cells if separator in cell for part in split_cell(cell, separator))


def split_cell(cell: str, separator: str) -> list[str]:
    return [name for part in cell.split(separator) if (name := part.strip())]


def all_names(labels: Iterable[Raw]) -> Iterator[str]:
    return (name for label in labels for name in ([label] if isinstance(label, str) else label))


def without_decimals(name: str) -> str:
    """Return 1 for 1.0, and so on; labels other than whole numbers unchanged."""
    found = _WHOLE.fullmatch(name)
    return found[1] if found else name


def _all_without_decimals(raw: Raw) -> Raw:
    return without_decimals(raw) if isinstance(raw, str) else list(map(without_decimals, raw))


def have_decimal_points(labels: Iterable[Raw]) -> bool:
    """Whether all labels are whole numbers and some are written with a decimal point."""
    names = list(filter(None, all_names(labels)))
    return all(map(_WHOLE.fullmatch, names)) and any("." in name for name in names)


def no_labels(labels: Sequence[Raw], kind: str | None) -> frozenset[str]:
    """Return which of `NO_LABEL` are placeholders of a missing label."""
    names = {label for one in labels if isinstance(label := unwrapped(one), str)}
    found = {"-"} if "-" in names and "+" not in names else set()
    others = names - set(NO_LABEL)
    numbers = sorted(number for name in others if (number := number_or_none(name)) is not None)
    # with fewer class numbers, as in −1, 0, 1, it may well be a class
    are_class_numbers = len(others) > 2 and numbers == [*range(len(others))]
    if "-1" in names and kind != "regression" and (are_class_numbers or not numbers):
        found.add("-1")
    return frozenset(found)


def multi_hot_length(labels: Sequence[Raw]) -> int:
    """Return the length of multi-hot lists, of 0 or 1 for each label; 0 if the labels are not such lists."""
    lengths = {len(label) if isinstance(label, list) and is_multi_hot(label) else 0 for label in labels}
    return lengths.pop() if len(lengths) == 1 and min(lengths) > 1 else 0


def is_multi_hot(label: Raw) -> bool:
    return isinstance(label, list) and all(flag_in(one) is not None for one in label)


def matching(name: str, known: Mapping[str, str]) -> str | None:
    """Return the known name that is equal ignoring case, or as LABEL_0 and 0.0 are equal to 0."""
    return known.get(_spelling(name))


def by_spelling(known: Iterable[str]) -> dict[str, str]:
    """Return names for `matching`, without those that are equal to another in that sense."""
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
                hint = f" ({spelled('label_map', {name: '…'})} says which label it is.)" if name.isdecimal() else ""
            raise BadRow(
                f"Unknown {what} {shown(name)} in {where}; {owner} has {listed(ordered(known), LISTED)}.{hint}"
            )


def find_joined(labels: Sequence[str], name: str) -> list[str]:
    """Return a sentence if labels that were not split seem to be several in one."""
    cells = Counter(labels)
    for sign, separator in zip(("bar", "semicolon", "comma"), SEPARATORS, strict=True):
        count = sum(times for cell, times in cells.items() if separator in cell)
        if count and (separator == BAR or recur(cells, separator)):
            how = spelled("kind", "multi-label")
            return [
                f"{counted(count, 'label')} of {name} {plural(count, 'holds', 'hold')} a {sign}; {how} treats it "
                "as the separator of several labels."
            ]
    return []


def ordered(names: Iterable[str]) -> list[str]:
    """Return names in the order of class numbers: numbers by value, then names alphabetically."""
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
    """Return how labels are written in a column; ``flags`` are columns that name the elements of multi-hot lists."""
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

    separator: str = ""  # of several labels in a cell; empty: guessed from each cell
    multi_hot: tuple[str, ...] = ()  # the label of each element of multi-hot lists
    fixed: tuple[str, ...] = ()  # the classes, in order, if they do not follow from the labels alone
    by_number: bool = False  # labels are numbers of the fixed classes
    none: frozenset[str] = frozenset()  # placeholders of a missing label
    decimal: bool = False  # labels are whole numbers with a decimal point, which is dropped

    def normalize(self, raw: Raw, where: str, name: str, notes: Notes) -> Any:
        raw = _all_without_decimals(raw) if self.decimal else raw
        raw = self._from_flags(raw, where) if self.multi_hot and is_multi_hot(raw) else raw
        if (label := unwrapped(raw)) in ("", *self.none):
            notes[f"Rows of {name} with the label {label!r}, a placeholder for none, which are left out"] += 1
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
            raise BadRow(f"The label in {where} is a list, {shown(raw)}, not one label; {how} allows several.")
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
        how = f", separated by {self.separator!r}" if self.separator else ""
        how += f" ({classes[0]}.0 is read as {classes[0]})" if self.decimal and classes else ""
        return [f"{kind}{how}, {counted(len(classes), 'class', 'classes')}: {names}"]

    def ambiguities(self, classes: Sequence[str]) -> list[str]:
        found = []
        if self.multi_hot and self.multi_hot == tuple(map(str, range(len(self.multi_hot)))):
            how = spelled("label_names", ["…"] * len(self.multi_hot))
            found.append(f"The labels are lists of 0 and 1 without names, so they are numbered; {how} names them.")
        is_number = all(number_or_none(name) is not None for name in classes)
        for name in classes:
            if name.lower() in _NOTHING:
                how = spelled("label_map", {name: ""})
                numbers = f", and {spelled('kind', 'regression')} learns numbers" if is_number else ""
                found.append(f"{name} is read as a class; {how} leaves out such rows as unlabelled{numbers}.")
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
