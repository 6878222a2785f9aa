"""What the labels of a classification are: one name a text, several, or a number; and in which order classes stand."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from bertie.data.cells import BadRow, flag_in, number_or_none, shown
from bertie.errors import InputError, nearest, spelled

KINDS = ("single-label", "multi-label", "regression")
BAR = "|"
SEPARATORS = (BAR, ";", ",")
NO_LABEL = ("-", "-1")
"""Written for an unknown label: in SNLI where annotators disagreed, in GLUE where the label is secret."""
LISTED = 10

Raw = str | list[str]

# columns of these names may hold several labels
_PLURAL = ("labels", "classes", "targets", "categories", "emotions", "topics", "genres", "tags")
_GENERIC = re.compile(r"label_(\d+)")
# as pandas writes whole numbers of a column in which some are missing
_WHOLE = re.compile(r"(-?\d+)(\.0+)?")


def check_kind(kind: str | None) -> None:
    """Refuse a kind of classification that there is not."""
    if kind is not None and kind not in KINDS:
        raise InputError(f"There is no kind {kind!r}; allowed are {', '.join(KINDS)}.{nearest(str(kind), KINDS)}")


def guess_kind(labels: Sequence[Raw], separator: str = "") -> str:
    """Return the kind of a classification from all its labels.

    Lists are multi-label, unless each holds one label, and so is what a separator parts. Numbers are a regression if
    some are not whole (of labels that are mostly numbers, those that are none are bad rows then). All else is one class
    a text.
    """
    if any(isinstance(label, list) and len(label) != 1 for label in labels) or separator:
        return "multi-label"
    numbers = [number for label in labels if (number := number_or_none(one_of(label))) is not None]
    if 2 * len(numbers) >= len(labels) and not all(number.is_integer() for number in numbers):
        return "regression"
    return "single-label"


def one_of(label: Raw) -> Raw:
    """Return the label of a list that holds one; all others as they are."""
    return label[0] if isinstance(label, list) and len(label) == 1 else label


def find_separator(labels: Sequence[Raw], kind: str | None, column: object) -> str:
    """Return what parts several labels in a cell; empty if nothing does.

    Cells are split if the kind is multi-label or the column has a plural name, but not where commas or semicolons seem
    to belong to the names: none of the parts stands in another cell, and each of the cells in several rows.
    """
    if kind not in (None, "multi-label") or (kind is None and str(column).strip().casefold() not in _PLURAL):
        return ""
    cells = Counter(label for label in labels if isinstance(label, str))
    for separator in SEPARATORS:
        joined = [cell for cell in cells if separator in cell]
        if joined and (kind or separator == BAR or recur(cells, separator) or min(cells[one] for one in joined) == 1):
            return separator
    return ""


def recur(cells: Collection[str], separator: str) -> bool:
    """Whether some part of a cell stands in another one."""
    parts = Counter(part for cell in cells for part in set(split_cell(cell, separator)))
    return any(parts[part] > 1 for cell in cells if separator in cell for part in split_cell(cell, separator))


def split_cell(cell: str, separator: str) -> list[str]:
    """Return the labels in a cell."""
    return [name for part in cell.split(separator) if (name := part.strip())]


def as_whole(name: str) -> str:
    """Return the label of a whole number without its decimal point, 1 for 1.0; all others as they are."""
    found = _WHOLE.fullmatch(name)
    return found[1] if found else name


def are_pointed(labels: Iterable[Raw]) -> bool:
    """Whether all labels are whole numbers and some are written with a decimal point."""
    names = [name for label in labels for name in ([label] if isinstance(label, str) else label) if name]
    return all(map(_WHOLE.fullmatch, names)) and any("." in name for name in names)


def no_labels(labels: Sequence[Raw], kind: str | None) -> frozenset[str]:
    """Return which of `NO_LABEL` mean that there is no label.

    "-" does unless there is a "+"; "-1" does where nothing else is a number, or all else are the class numbers 0, 1, 2
    and on: with fewer, as in −1, 0, 1, it may well be a class.
    """
    names = {label for one in labels if isinstance(label := one_of(one), str)}
    found = {"-"} if "-" in names and "+" not in names else set()
    others = names - set(NO_LABEL)
    numbers = sorted(number for name in others if (number := number_or_none(name)) is not None)
    is_counted = len(others) > 2 and numbers == [*range(len(others))]
    if "-1" in names and kind != "regression" and (is_counted or not numbers):
        found.add("-1")
    return frozenset(found)


def places(labels: Sequence[Raw]) -> int:
    """Return the length of lists of 0 and 1 that say for each label whether a text has it; 0 if they are none."""
    lengths = {len(label) if isinstance(label, list) and is_hot(label) else 0 for label in labels}
    return lengths.pop() if len(lengths) == 1 and min(lengths) > 1 else 0


def is_hot(label: Raw) -> bool:
    """Whether a label is a list of 0 and 1."""
    return isinstance(label, list) and all(flag_in(one) is not None for one in label)


def matching(name: str, known: Mapping[str, str]) -> str | None:
    """Return the known name that is the same in other letters, or as LABEL_0 and 0.0 are 0; None if there is none."""
    return known.get(_spelling(name))


def by_spelling(known: Iterable[str]) -> dict[str, str]:
    """Return names for `matching`, without those that differ from another in letters only."""
    names = list(known)
    counts = Counter(map(_spelling, names))
    return {_spelling(name): name for name in names if counts[_spelling(name)] == 1}


def _spelling(name: str) -> str:
    folded = name.casefold()
    generic = _GENERIC.fullmatch(folded)
    return generic[1] if generic else as_whole(folded)


def check_known(names: Iterable[str], known: Collection[str], where: str, owner: str, what: str = "label") -> None:
    """Refuse a label that is not in ``known``."""
    for name in names:
        if name not in known:
            has = [repr(one) for one in ordered(known)]
            listed = ", ".join(has[:LISTED]) + (f" and {len(has) - LISTED} more" if len(has) > LISTED else "")
            hint = nearest(name, known)
            if what == "label" and not hint:
                hint = f" ({spelled('label_map', {name: '…'})} says which of them it is.)" if name.isdecimal() else ""
            raise BadRow(f"Unknown {what} {shown(name)} in {where}; {owner} has {listed}.{hint}")


def ordered(names: Iterable[str]) -> list[str]:
    """Return names in the order of class numbers: numbers by value, then names by the alphabet."""

    def key(name: str) -> tuple[bool, float, str]:
        number = number_or_none(name)
        return number is None, number or 0.0, name

    return sorted(set(names), key=key)


def ordered_tags(tags: Iterable[str]) -> list[str]:
    """Return tags in the order of class numbers: O, then by type, B- before I-."""

    def key(tag: str) -> tuple[bool, str, str]:
        prefix, dash, kind = tag.partition("-")
        return tag != "O", kind if dash else tag, prefix

    return sorted(set(tags), key=key)
