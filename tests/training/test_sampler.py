"""Which examples a step takes: every example once an epoch, the same for any number of processes."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import InputError
from bertie.training.sampler import Sampler, cuts, micro_batches, seed_of_step, shard, shuffled

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=60)


def test_cuts_of_an_epoch() -> None:
    assert cuts(np.array([3, 4, 5, 9, 1, 1]), 8).tolist() == [0, 2, 3, 4, 6]


@settings(deadline=None)
@given(SIZES, st.integers(1, 30), st.booleans(), st.integers(0, 5))
def test_an_epoch_holds_every_example_once(sizes: list[int], batch: int, by_tokens: bool, seed: int) -> None:
    sampler = Sampler(sizes, seed, None if by_tokens else batch, batch if by_tokens else None)
    for epoch in range(3):
        first = sampler.steps_before(epoch)
        steps = [sampler.examples(first + place).tolist() for place in range(sampler.steps_in(epoch))]
        assert sorted(chain(*steps)) == list(range(len(sizes)))
        assert list(chain(*steps)) == shuffled(len(sizes), seed, epoch).tolist()
        for place, step in enumerate(steps):
            assert sampler.locate(first + place) == (epoch, place)
            if by_tokens:
                assert len(step) == 1 or sum(sizes[each] for each in step) <= batch
            else:
                assert len(step) <= batch
    assert sampler.epochs_done(sampler.steps_before(2)) == 2


@settings(deadline=None)
@given(SIZES, st.integers(1, 5), st.integers(1, 50))
def test_processes_and_micro_batches_divide_a_step(sizes: list[int], world: int, tokens: int) -> None:
    lengths, step = np.array(sizes), np.random.default_rng(0).permutation(len(sizes))
    shares = [shard(step, lengths, rank, world) for rank in range(world)]
    assert sorted(chain(*(each.tolist() for each in shares))) == list(range(len(sizes)))
    heavy = [lengths[each].sum() for each in shares]
    assert max(heavy) - min(heavy) <= max(sizes)
    parts = micro_batches(shares[0], lengths, tokens)
    assert sorted(chain(*parts)) == sorted(shares[0].tolist())
    in_order = [sizes[each] for each in chain(*parts)]
    assert in_order == sorted(in_order, reverse=True)
    assert all(len(part) == 1 or lengths[part].sum() <= tokens for part in parts)


def test_shuffles_and_seeds_differ_and_repeat() -> None:
    assert shuffled(9, 1, 2).tolist() == shuffled(9, 1, 2).tolist()
    assert shuffled(9, 1, 2).tolist() != shuffled(9, 1, 3).tolist()
    assert len({seed_of_step(seed, step, rank) for seed in range(3) for step in range(9) for rank in range(3)}) == 81


def test_no_examples_are_refused() -> None:
    with pytest.raises(InputError, match="no example to learn from"):
        Sampler([], 0, 4, None)
