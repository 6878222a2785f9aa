"""Splits by a seed: train, dev and test. No text is in two of them, and classes keep their shares."""

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
# dev examples, or their share of train; None: the default share
Dev = list[Example] | float | None
# The share of train that becomes dev or test if there is no file for it.
SHARE = 0.1
# The maximum size of a split-off part: more examples would hardly make metrics more precise.
MAX_SIZE = 5_000
# The purpose of a part, and what happens without it.
_PURPOSES = {"test": ("scoring", "nothing is scored"), "dev": ("choosing", "the last epoch is kept")}


def split(
    examples: Sequence[Example], fraction: float, seed: int = 0, together: Key = by_text
) -> tuple[list[Example], list[Example]]:
    """Split examples in two, each in the given order, the same on any machine; equal ``together`` keys stay together.

    Classes keep their shares; a text of several counts for the rarest, and a class of one text stays in the first part.
    """
    if not 0 < fraction < 1:
        raise InputError(f"The fraction of a split is {fraction!r}; it must be between 0 and 1.")
    groups = _groups(examples, together)
    if len(groups) < 2:
        raise InputError("Examples of a single text cannot be split in two; give a file for the other part.")
    strata = _strata(examples, groups)
    drawn = _drawn(strata, fraction, random.Random(seed)) or [min(strata[-1], key=len)]
    held = {index for group in drawn for index in group}
    first = [example for index, example in enumerate(examples) if index not in held]
    return first, [examples[index] for index in sorted(held)]


def folds(examples: Sequence[Example], count: int, seed: int = 0, together: Key = by_text) -> list[list[int]]:
    """Return the indices of the examples in each of ``count`` folds of similar size, distributed as by `split`."""
    groups = _groups(examples, together)
    if len(groups) < count:
        raise InputError(
            f"{spelled('folds')} is {count}, but the {len(examples)} rows have {len(groups)} different texts; give "
            f"{'more rows' if len(groups) < 2 else f'at most {len(groups)}'}."
        )
    chance = random.Random(seed)
    found: list[list[int]] = [[] for _ in range(count)]
    for stratum in _strata(examples, groups):
        chance.shuffle(stratum)
        sizes = [0] * count
        # large groups first, each into the fold with the fewest of its class, and then the fewest overall
        for group in sorted(stratum, key=len, reverse=True):
            smallest = min(range(count), key=lambda fold: (sizes[fold], len(found[fold])))
            found[smallest] += group
            sizes[smallest] += len(group)
    return found


def rare_classes(examples: Sequence[Example], count: int) -> list[str]:
    """Return a sentence if some classes have fewer rows than there are folds, so that some folds lack them."""
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
        # ties are broken by name: a set has no order
        strata[min(names, key=lambda name: (counts[name], name), default=None)].append(group)
    return sorted(strata.values(), key=len)


def _classes(example: Example) -> Sequence[str]:
    """Return the classes of an example, whose shares a split keeps."""
    label = example.label
    if isinstance(label, str):
        return (label,)
    return label if isinstance(label, list) and not isinstance(example.text, list) else ()


def _drawn(strata: list[list[list[int]]], fraction: float, chance: random.Random) -> list[list[int]]:
    """Draw its share from each class; rounding errors are carried over to the next class."""
    drawn: list[list[int]] = []
    owed = 0.0
    for groups in strata:
        chance.shuffle(groups)
        share = fraction * sum(len(group) for group in groups)
        owed = min(owed + share, share + 1)
        # one text of each class remains for training
        for group in groups[1:]:
            if len(group) <= 2 * owed:
                drawn.append(group)
                owed -= len(group)
    return drawn


@dataclass(frozen=True)
class Splits:
    """The three parts of a fine-tuning's data."""

    train: list[Example]
    dev: list[Example]  # to choose the best epoch, thresholds and temperature; empty: the last epoch is kept
    test: list[Example]  # only to score the finished model; empty: it is not scored
    sources: dict[str, str]  # the origin of each part, for the report

    @property
    def counts(self) -> dict[str, int]:
        return {"train": len(self.train), "dev": len(self.dev), "test": len(self.test)}


def without_old_names(dev: object, test: object, tune: object, folds: int | None) -> tuple[object, object]:
    """Return dev and test. If ``tune``, the old name of dev, is given, then ``dev`` is the old name of test."""
    was = f"{spelled('test')} was formerly called {spelled('dev')}, and {spelled('dev')} {spelled('tune')}"
    if tune is not None:
        if test is not None:
            raise InputError(f"{was}: give {spelled('dev')} and {spelled('test')}, without {spelled('tune')}.")
        say_once(f"{was}: they are understood that way here; use the new names.")
        return tune, dev
    if dev is not None and test is None and folds is None:
        say_once(f"{spelled('dev')} chooses the best epoch, and {spelled('test')} is scored ({was}).")
    return dev, test


def make_splits(
    data: Dataset, test: float | None, dev: Dev, seed: int, schema: Schema, named: Mapping[str, str]
) -> Splits:
    """Return the parts; those without rows of their own are split off train, by ``seed``."""
    train, scored, sources = data.train, data.test, dict(named)
    if scored is None:
        train, scored, sources["test"] = _split_off(train, test, seed, schema, "test")
    return _with_dev(Splits(train, [], scored, sources), dev, seed, schema)


def make_folds(
    data: Dataset, count: int, dev: Dev, seed: int, schema: Schema, named: Mapping[str, str]
) -> list[Splits]:
    """Return the parts of a cross-validation, one entry per fold, each scored on its own part of train."""
    train, found = data.train, []
    for number, held in enumerate(folds(train, count, seed, schema.together(train)), 1):
        others = set(range(len(train))).difference(held)
        scored, rest = ([train[index] for index in sorted(part)] for part in (held, others))
        sources = {**named, "test": f"fold {number} of {count} of {named['train']}"}
        found.append(_with_dev(Splits(rest, [], scored, sources), dev, seed, schema))
    return found


def _with_dev(parts: Splits, dev: Dev, seed: int, schema: Schema) -> Splits:
    """Return the parts with dev examples, split off ``train`` if only their share is given."""
    if isinstance(dev, list):
        found = replace(parts, dev=dev)
    else:
        train, held, source = _split_off(parts.train, dev, seed + 1, schema, "dev")
        found = Splits(train, held, parts.test, {**parts.sources, "dev": source})
    sizes = found.counts.values()
    logger.info("%d examples for training (train), %d for choosing (dev), %d for scoring (test).", *sizes)
    return found


def is_share(part: object) -> TypeGuard[float | None]:
    """Whether a part is a share of train, or the default one, rather than a source."""
    return part is None or isinstance(part, int | float)


def _split_off(
    train: list[Example], part: float | None, seed: int, schema: Schema, name: str
) -> tuple[list[Example], list[Example], str]:
    """Return the rest of train, the part split off for ``name``, and the origin of that part."""
    share = SHARE if part is None else float(part)
    purpose, without = _PURPOSES[name]
    if not 0 <= share < 1:
        raise InputError(
            f"{spelled(name)} is {part:g}; allowed: a file, or a share of train from 0 ({without}) to below 1."
        )
    if not share:
        return train, [], "nothing"
    together = schema.together(train)
    if len(set(map(together, train))) < 2:
        several = f"All {len(train):,} rows have the same {schema.unit}"
        left_over = several if len(train) > 1 else "Only one row of train is left"
        raise InputError(
            f"{left_over}, and {purpose} needs another: name a separate file "
            f"({spelled(name, '…')}), or do without ({spelled(name, 0)}: {without})."
        )
    left, held = split(train, min(share, MAX_SIZE / len(train)), seed, together)
    return left, held, "split off from train, not trained on"
