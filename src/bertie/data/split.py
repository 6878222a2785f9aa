"""Splits by a seed: to learn from, choose by and score on. No text is in two of them; classes keep their shares."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from bertie.data.dataset import Dataset
from bertie.data.example import Example
from bertie.data.schema import Schema, by_text
from bertie.errors import InputError, spelled
from bertie.progress import logger, say_once

Key = Callable[[Example], Hashable]
# examples to choose by, or their share of train; None: the usual share
Kept = list[Example] | float | None
# The share of train that is kept for dev, and for test, where there is no file for it.
SHARE = 0.1
# More examples than this tell nothing more.
MOST = 5_000
# What a part is for, and what its lack means.
_FOR = {"test": ("scoring", "nothing is scored"), "dev": ("choosing", "the last epoch is kept")}


def split(
    examples: Sequence[Example], fraction: float, seed: int = 0, together: Key = by_text
) -> tuple[list[Example], list[Example]]:
    """Part examples in two, each in the order given, the same on any machine; those that go ``together`` stay so.

    Single labels keep their shares, texts of several go by the rarest; a class of one text stays in the first part.
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
    """Return the numbers of the examples of each of ``count`` folds of about one size, parted as by `split`."""
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


@dataclass(frozen=True)
class Splits:
    """The three parts of a fine-tuning's data."""

    train: list[Example]
    dev: list[Example]  # what the best epoch, thresholds and temperature are chosen by; empty: the last epoch is kept
    test: list[Example]  # what the finished model is scored on, and nothing else; empty: it is not scored
    sources: dict[str, str]  # where each part comes from, for the report

    @property
    def counts(self) -> dict[str, int]:
        return {"train": len(self.train), "dev": len(self.dev), "test": len(self.test)}


def in_usual_words(dev: object, test: object, tune: object, folds: int | None) -> tuple[object, object]:
    """Return dev and test; with ``tune``, which is what dev was called, ``dev`` is what test was called."""
    was = f"{spelled('test')} was called {spelled('dev')} once, and {spelled('dev')} {spelled('tune')}"
    if tune is not None:
        if test is not None:
            raise InputError(f"{was}: give {spelled('dev')} and {spelled('test')}, without {spelled('tune')}.")
        say_once(f"{was}: they are read so here; use the new names.")
        return tune, dev
    if dev is not None and test is None and folds is None:
        say_once(f"{spelled('dev')} chooses the best epoch, and {spelled('test')} is what is scored ({was}).")
    return dev, test


def make_splits(
    data: Dataset, test: float | None, dev: Kept, seed: int, schema: Schema, named: Mapping[str, str]
) -> Splits:
    """Return the parts: what no rows are given for is split off train, by ``seed``."""
    train, scored, sources = data.train, data.test, dict(named)
    if scored is None:
        train, scored, sources["test"] = _split_off(train, test, seed, schema, "test")
    return _with_dev(Splits(train, [], scored, sources), dev, seed, schema)


def make_folds(
    data: Dataset, count: int, dev: Kept, seed: int, schema: Schema, named: Mapping[str, str]
) -> list[Splits]:
    """Return the parts of a cross-validation, one entry a fold, which is scored on its own part of train."""
    train, found = data.train, []
    for number, held in enumerate(folds(train, count, seed, schema.together(train)), 1):
        others = set(range(len(train))).difference(held)
        scored, rest = ([train[index] for index in sorted(part)] for part in (held, others))
        sources = {**named, "test": f"fold {number} of {count} of {named['train']}"}
        found.append(_with_dev(Splits(rest, [], scored, sources), dev, seed, schema))
    return found


def _with_dev(parts: Splits, dev: Kept, seed: int, schema: Schema) -> Splits:
    """Return the parts with examples to choose by, split off ``train`` if only their share is given."""
    if isinstance(dev, list):
        found = replace(parts, dev=dev)
    else:
        train, held, source = _split_off(parts.train, dev, seed + 1, schema, "dev")
        found = Splits(train, held, parts.test, {**parts.sources, "dev": source})
    sizes = found.counts.values()
    logger.info("%d examples to learn from (train), %d to choose by (dev), %d to score on (test).", *sizes)
    return found


def is_share(part: object) -> TypeGuard[float | None]:
    """Whether a part is named by its share of train, or left to the default, not given as a source."""
    return part is None or isinstance(part, int | float)


def _split_off(
    train: list[Example], part: float | None, seed: int, schema: Schema, name: str
) -> tuple[list[Example], list[Example], str]:
    """Return what is left of train, what is split off for ``name``, and where that comes from."""
    share = SHARE if part is None else float(part)
    purpose, without = _FOR[name]
    if not 0 <= share < 1:
        raise InputError(
            f"{spelled(name)} is {part:g}; allowed: a file, or a share of train from 0 ({without}) to below 1."
        )
    if not share:
        return train, [], "nothing"
    together = schema.together(train)
    if len(set(map(together, train))) < 2:
        several = f"All {len(train):,} rows have the same {schema.unit}"
        left_over = several if len(train) > 1 else "One row is left of train"
        raise InputError(
            f"{left_over}, and {purpose} needs another: name a file of its own "
            f"({spelled(name, '…')}), or do without ({spelled(name, 0)}: {without})."
        )
    left, held = split(train, min(share, MOST / len(train)), seed, together)
    return left, held, "split off from train, not learned from"
