"""What the labels of a classification are: one name a text, several, or a number; and in which order classes stand."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bertie.errors import InputError, nearest
from bertie.finetuning.cells import BadRow, number_in, number_or_none, shown

KINDS = ("single-label", "multi-label", "regression")
BAR = "|"
LISTED = 10

Raw = str | list[str]


def check_kind(kind: str | None) -> None:
    """Refuse a kind of classification that there is not.

    Raises:
        InputError: naming those that there are.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"There is no kind {kind!r}; allowed are {', '.join(KINDS)}.{nearest(str(kind), KINDS)}")


def guess_kind(labels: Sequence[Raw], column: str | list[str] | None = None) -> str:
    """Return the kind of a classification from all its labels.

    Lists are multi-label, and so are bars in a column called ``labels``. Numbers are a regression if some are not whole
    (of labels that are mostly numbers, those that are none are bad rows then). All else is one class a text.
    """
    if any(isinstance(label, list) for label in labels):
        return "multi-label"
    if str(column).strip().lower() == "labels" and any(BAR in label for label in labels):
        return "multi-label"
    numbers = [number for label in labels if (number := number_or_none(label)) is not None]
    if 2 * len(numbers) >= len(labels) and not all(number.is_integer() for number in numbers):
        return "regression"
    return "single-label"


def settled(raw: Raw, kind: str, where: str) -> Any:
    """Return a label in the form of its kind: a str, a list of them without doubles, or a float.

    Raises:
        BadRow: it has none.
    """
    if kind == "regression":
        return number_in(raw, "label", where)
    if kind == "multi-label":
        names = raw if isinstance(raw, list) else [name.strip() for name in raw.split(BAR)]
        return list(dict.fromkeys(name for name in names if name))
    if isinstance(raw, list):
        raise BadRow(f"The label in {where} is a list, {shown(raw)}, where one label belongs.")
    return raw


def check_known(names: Iterable[str], known: Collection[str], where: str, owner: str, what: str = "label") -> None:
    """Refuse a label that is not in ``known``.

    Args:
        names: the labels of a row.
        known: a set of all there may be.
        where: the row's place.
        owner: who has the known ones, "train" or "the model".
        what: "label" or "tag".

    Raises:
        BadRow: naming some of the known ones and the nearest.
    """
    for name in names:
        if name not in known:
            has = [repr(one) for one in ordered(known)]
            listed = ", ".join(has[:LISTED]) + (f" and {len(has) - LISTED} more" if len(has) > LISTED else "")
            raise BadRow(f"Unknown {what} {shown(name)} in {where}; {owner} has {listed}.{nearest(name, known)}")


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
