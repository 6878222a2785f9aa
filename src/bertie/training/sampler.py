"""The examples of each step: a pure function of sizes and seed, the same for any number of processes."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from bertie.batching import batches
from bertie.errors import InputError

Integers = np.ndarray[Any, np.dtype[np.int64]]
# Examples with `LookedUpSizes` are cut into steps by tokens in blocks of this many, to bound the memory for sizes.
BLOCK = 2**16
# The share of its full size that the first step has under batch warm-up.
FIRST_BATCH = 1 / 8
ROUNDS = 6  # of the Feistel network in `shuffled_at`


@dataclass(frozen=True)
class LookedUpSizes:
    """The sizes of ``count`` examples, looked up for each step instead of kept in memory.

    Numbering continues through the epochs: epoch ``e``, whose examples may be new ones, begins with ``e * count``.
    """

    count: int  # examples in an epoch
    sizes_of: Callable[[Integers], Integers]  # takes examples [n] and returns their tokens [n]; must be deterministic
    mean: int | None = None  # mean tokens, for steps of equally many examples; None: steps are cut by sizes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, examples: Integers) -> Integers:
        return self.sizes_of(examples)


Sizes = Integers | LookedUpSizes


def shuffled(count: int, seed: int, epoch: int) -> Integers:
    """Return the order of ``count`` examples in an epoch, ``[count]``."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def shuffled_at(positions: Integers, count: int, seed: int, epoch: int) -> Integers:
    """Return the examples at these positions of a shuffle of ``count`` examples, without computing all of it.

    A Feistel network permutes the numbers of as many bits as ``count`` has, rounded up to even; results beyond
    ``count`` are permuted again (cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64)

    def network(numbers: np.ndarray) -> np.ndarray:
        left, right = numbers >> half, numbers & mask
        for key in keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        return left << half | right

    found = network(positions.astype(np.uint64))
    while (outside := found >= count).any():
        found[outside] = network(found[outside])
    return found.astype(np.int64)


def _mix(numbers: np.ndarray) -> np.ndarray:
    """Mix the bits of 64-bit numbers (the finalizer of SplitMix64, Steele et al. 2014)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def step_bounds(sizes: Integers, tokens: int) -> Integers:
    """Return the bounds, from 0 to N, that cut ``sizes`` into steps of at most ``tokens`` tokens, or one example."""
    ends, bounds = np.cumsum(sizes), [0]
    while bounds[-1] < len(sizes):
        before = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, before + tokens, side="right"))))
    return np.array(bounds)


def split_by_tokens(examples: Integers, sizes: Sizes, world: int) -> list[Integers]:
    """Divide the examples of a step among ``world`` processes, with tokens as even as possible; some may get none."""
    if world == 1:
        return [examples]
    lengths, tokens, owners = sizes[examples], [0] * world, np.empty(len(examples), dtype=np.int64)
    for index in np.argsort(-lengths, kind="stable"):
        owners[index] = owner = min(range(world), key=tokens.__getitem__)
        tokens[owner] += int(lengths[index])
    return [examples[owners == rank] for rank in range(world)]


def micro_batches(examples: Integers, sizes: Sizes, tokens: int) -> list[list[int]]:
    """Return the examples cut into batches of at most ``tokens`` tokens, longest first."""
    return [examples[batch].tolist() for batch in batches(sizes[examples].tolist(), tokens)]


def step_seed(seed: int, step: int, rank: int) -> int:
    """Return the random seed of a step, different for each step and process."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Sampler:
    """The steps of a run: each epoch is a shuffle of all examples, cut into steps by number or by tokens.

    The sampler begins at step ``first_step`` of the run. Over ``batch_warmup`` steps, the share of its examples that a
    step uses grows linearly from `FIRST_BATCH` to all.
    """

    def __init__(
        self,
        sizes: Sequence[int] | LookedUpSizes,
        seed: int,
        batch_size: int | None,
        batch_tokens: int | None,
        batch_warmup: int = 0,
        first_step: int = 0,
    ) -> None:
        if len(sizes) == 0:
            raise InputError("There is no example to learn from; give at least one.")
        self.is_in_memory = not isinstance(sizes, LookedUpSizes)
        self.sizes: Sizes = sizes if isinstance(sizes, LookedUpSizes) else np.asarray(sizes, dtype=np.int64)
        if batch_tokens is not None and isinstance(sizes, LookedUpSizes) and sizes.mean is not None:
            batch_size, batch_tokens = max(1, batch_tokens // sizes.mean), None
        self.seed, self._batch_size, self._batch_tokens = seed, batch_size, batch_tokens
        self._batch_warmup, self.first_step = batch_warmup, first_step
        self._block = len(sizes) if self.is_in_memory else BLOCK
        self._blocks = -(-len(sizes) // self._block)  # of an epoch
        self._starts = [0]  # the first step of each block so far, through all epochs
        self._drawn = lru_cache(maxsize=2)(partial(shuffled, len(sizes), seed))
        self._cut = lru_cache(maxsize=2)(self._cut_block)

    def steps_in(self, epoch: int) -> int:
        return self.steps_before(epoch + 1) - self.steps_before(epoch)

    def steps_before(self, epoch: int) -> int:
        """Return the number of steps of all epochs before ``epoch``."""
        if self._batch_size is not None:
            return epoch * -(-len(self.sizes) // self._batch_size)
        while len(self._starts) <= epoch * self._blocks:
            self._cut_next_block()
        return self._starts[epoch * self._blocks]

    def locate(self, step: int) -> tuple[int, int]:
        """Return the epoch of step number ``step`` of the run, and its number in that epoch."""
        step -= self.first_step
        epoch = step // self.steps_in(0) if self._batch_size is not None else self._block_of(step) // self._blocks
        return epoch, step - self.steps_before(epoch)

    def examples(self, step: int) -> Integers:
        """Return the examples of step number ``step`` of the run."""
        found, place = self._full_step(step), step - self.first_step
        if place >= self._batch_warmup:
            return found
        share = FIRST_BATCH + (1 - FIRST_BATCH) * place / self._batch_warmup
        return found[: max(1, round(share * len(found)))]

    def _full_step(self, step: int) -> Integers:
        """Return the examples of a step at full size."""
        if self._batch_size is None:
            block = self._block_of(step - self.first_step)
            order, bounds = self._cut(block)
            place = step - self.first_step - self._starts[block]
            return order[bounds[place] : bounds[place + 1]]
        epoch, place = self.locate(step)
        return self._order(epoch, place * self._batch_size, (place + 1) * self._batch_size)

    def epochs_done(self, steps: int) -> float:
        """Return the number of epochs, with fractions, that ``steps`` steps are."""
        epoch, place = self.locate(steps)
        return epoch + place / self.steps_in(epoch)

    def _block_of(self, step: int) -> int:
        while self._starts[-1] <= step:
            self._cut_next_block()
        return bisect_right(self._starts, step) - 1

    def _cut_next_block(self) -> None:
        self._starts.append(self._starts[-1] + len(self._cut(len(self._starts) - 1)[1]) - 1)

    def _cut_block(self, number: int) -> tuple[Integers, Integers]:
        """Return the shuffled examples of a block, and the bounds of its steps."""
        assert self._batch_tokens is not None
        epoch, place = divmod(number, self._blocks)
        order = self._order(epoch, place * self._block, (place + 1) * self._block)
        return order, step_bounds(self.sizes[order], self._batch_tokens)

    def _order(self, epoch: int, start: int, stop: int) -> Integers:
        if self.is_in_memory:
            return self._drawn(epoch)[start:stop]
        positions = np.arange(start, min(stop, len(self.sizes)))
        return shuffled_at(positions, len(self.sizes), self.seed, epoch) + epoch * len(self.sizes)
