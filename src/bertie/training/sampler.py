"""Which examples each step takes: pure functions of sizes and seed, the same for any number of processes."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bertie.batching import batches
from bertie.errors import InputError

Integers = np.ndarray[Any, np.dtype[np.int64]]


def shuffled(count: int, seed: int, epoch: int) -> Integers:
    """Return the order of ``count`` examples in an epoch, ``[count]``."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def cuts(sizes: Integers, tokens: int) -> Integers:
    """Return where ``sizes`` (in the order of an epoch) are cut into steps of at most ``tokens`` tokens, 0 and N too.

    An example longer than that is a step of its own.
    """
    ends, bounds = np.cumsum(sizes), [0]
    while bounds[-1] < len(sizes):
        before = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, before + tokens, side="right"))))
    return np.array(bounds)


def shard(examples: Integers, sizes: Integers, rank: int, world: int) -> Integers:
    """Return the examples of a step that process ``rank`` of ``world`` computes; tokens are divided evenly.

    Every example belongs to one process; with fewer examples than processes some have none.
    """
    if world == 1:
        return examples
    tokens, owners = [0] * world, np.empty(len(examples), dtype=np.int64)
    for place in np.argsort(-sizes[examples], kind="stable"):
        owners[place] = owner = min(range(world), key=tokens.__getitem__)
        tokens[owner] += int(sizes[examples[place]])
    return examples[owners == rank]


def micro_batches(examples: Integers, sizes: Integers, tokens: int) -> list[list[int]]:
    """Return the examples cut into batches of at most ``tokens`` tokens, longest first.

    Sorted by length, texts of equal length lie side by side, and grouped attention copies nothing.
    """
    return [examples[batch].tolist() for batch in batches(sizes[examples].tolist(), tokens)]


def seed_of_step(seed: int, step: int, rank: int) -> int:
    """Return what the random numbers of a step start from, different for each step and process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Sampler:
    """The steps of a run: each epoch is a shuffle of all examples, cut into steps by number or by tokens."""

    def __init__(self, sizes: Sequence[int], seed: int, batch_size: int | None, batch_tokens: int | None) -> None:
        if len(sizes) == 0:
            raise InputError("There is no example to learn from; give at least one.")
        self.sizes: Integers = np.asarray(sizes, dtype=np.int64)
        self.seed, self._batch_size, self._batch_tokens = seed, batch_size, batch_tokens
        self._starts = [0]  # the first step of each epoch so far
        self._epoch = lru_cache(maxsize=2)(self._made_epoch)

    def steps_in(self, epoch: int) -> int:
        """Return the number of steps of an epoch."""
        if self._batch_size is not None:
            return -(-len(self.sizes) // self._batch_size)
        return len(self._epoch(epoch)[1]) - 1

    def steps_before(self, epoch: int) -> int:
        """Return the number of steps of all epochs before ``epoch``."""
        if self._batch_size is not None:
            return epoch * self.steps_in(0)
        while len(self._starts) <= epoch:
            self._starts.append(self._starts[-1] + self.steps_in(len(self._starts) - 1))
        return self._starts[epoch]

    def locate(self, step: int) -> tuple[int, int]:
        """Return the epoch that step number ``step`` (from 0) is part of, and its place in it."""
        epoch = step // self.steps_in(0) if self._batch_size is not None else 0
        while self.steps_before(epoch + 1) <= step:
            epoch += 1
        return epoch, step - self.steps_before(epoch)

    def examples(self, step: int) -> Integers:
        """Return the examples of step number ``step``, from 0 on."""
        epoch, place = self.locate(step)
        order, bounds = self._epoch(epoch)
        return order[bounds[place] : bounds[place + 1]]

    def epochs_done(self, steps: int) -> float:
        """Return how many epochs the first ``steps`` steps are."""
        epoch, place = self.locate(steps)
        return epoch + place / self.steps_in(epoch)

    def _made_epoch(self, epoch: int) -> tuple[Integers, Integers]:
        order = shuffled(len(self.sizes), self.seed, epoch)
        if self._batch_size is None:
            assert self._batch_tokens is not None
            return order, cuts(self.sizes[order], self._batch_tokens)
        return order, np.append(np.arange(0, len(order), self._batch_size), len(order))
