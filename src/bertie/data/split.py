"""Parting examples by a seed, in two or in folds: classes keep their shares, and no text stands in two parts."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from bertie.data.example import Example
from bertie.data.validation import text_key
from bertie.errors import InputError, spelled

Key = Callable[[Example], Hashable]


def by_text(example: Example) -> Hashable:
    """Return what examples of the same text have in common, and questions of the same context."""
    context = example.text.get("context") if isinstance(example.text, dict) else None
    return text_key(example) if context is None else context


def by_query(example: Example) -> Hashable:
    """Return what the passages of a query have in common."""
    return example.text[0]


def split(
    examples: Sequence[Example], fraction: float, seed: int = 0, together: Key = by_text
) -> tuple[list[Example], list[Example]]:
    """Part examples in two, each in the order given.

    Examples that have something in common stay together. Single labels keep their shares, texts of several labels go by
    the rarest of theirs; a class of one text stays in the first part. Others are drawn at random. The same examples,
    fraction and seed give the same parts on any machine.
    """
    if not 0 < fraction < 1:
        raise InputError(f"The fraction of a split is {fraction!r}; it must lie between 0 and 1.")
    groups = _groups(examples, together)
    if len(groups) < 2:
        raise InputError("Examples of one text cannot be split in two; give a file for the other part.")
    strata = _strata(examples, groups)
    drawn = _drawn(strata, fraction, random.Random(seed)) or [min(strata[-1], key=len)]
    held = {index for group in drawn for index in group}
    first = [example for index, example in enumerate(examples) if index not in held]
    return first, [examples[index] for index in sorted(held)]


def folds(examples: Sequence[Example], count: int, seed: int = 0, together: Key = by_text) -> list[list[int]]:
    """Part examples in ``count`` folds of about one size, and return the numbers of each fold's.

    As in `split`, examples that have something in common stay together, and classes keep their shares.
    """
    groups = _groups(examples, together)
    if len(groups) < count:
        raise InputError(
            f"{spelled('folds')} is {count}, but the {len(examples)} rows hold {len(groups)} different texts; give "
            f"{'more rows' if len(groups) < 2 else f'at most {len(groups)}'}."
        )
    chance = random.Random(seed)
    found: list[list[int]] = [[] for _ in range(count)]
    for stratum in _strata(examples, groups):
        chance.shuffle(stratum)
        sizes = [0] * count
        # large groups first, each where its class, and then where all, are fewest
        for group in sorted(stratum, key=len, reverse=True):
            place = min(range(count), key=lambda fold: (sizes[fold], len(found[fold])))
            found[place] += group
            sizes[place] += len(group)
    return found


def rare_classes(examples: Sequence[Example], count: int) -> list[str]:
    """Return a sentence if classes have fewer rows than there are folds, so that some folds lack them."""
    counts = Counter(name for example in examples for name in _classes(example))
    rare = [name for name, number in counts.items() if number < count]
    if not rare:
        return []
    first = min(rare, key=lambda name: (counts[name], name))
    return [
        f"{len(rare)} of {len(counts)} classes have fewer rows than there are folds, {count}, such as {first!r} with "
        f"{counts[first]}: some folds are scored without them."
    ]


def _groups(examples: Sequence[Example], together: Key) -> list[list[int]]:
    """Return the numbers of the examples that must stay together."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[together(example)].append(index)
    return list(groups.values())


def _strata(examples: Sequence[Example], groups: Iterable[list[int]]) -> list[list[list[int]]]:
    """Return the groups by class, the rarest class first."""
    counts = Counter(name for example in examples for name in _classes(example))
    strata: dict[str | None, list[list[int]]] = defaultdict(list)
    for group in groups:
        names = {name for index in group for name in _classes(examples[index])}
        # by name where counts are equal: a set has no order of its own
        strata[min(names, key=lambda name: (counts[name], name), default=None)].append(group)
    return sorted(strata.values(), key=len)


def _classes(example: Example) -> Sequence[str]:
    """Return the classes of an example whose shares are to be kept."""
    label = example.label
    if isinstance(label, str):
        return (label,)
    return label if isinstance(label, list) and not isinstance(example.text, list) else ()


def _drawn(strata: list[list[list[int]]], fraction: float, chance: random.Random) -> list[list[int]]:
    """Draw from each class its share; what rounding leaves is made up for by the next class."""
    drawn: list[list[int]] = []
    owed = 0.0
    for groups in strata:
        chance.shuffle(groups)
        share = fraction * sum(len(group) for group in groups)
        owed = min(owed + share, share + 1)
        # one text of each class stays to be learned from
        for group in groups[1:]:
            if len(group) <= 2 * owed:
                drawn.append(group)
                owed -= len(group)
    return drawn
