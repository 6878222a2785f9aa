"""Which examples a step takes: every example once an epoch, the same for any number of processes."""

import tracemalloc
from collections import Counter
from itertools import chain, pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import InputError
from bertie.training import sampler as module
from bertie.training.sampler import (
    LookedUpSizes,
    Sampler,
    micro_batches,
    shuffled,
    shuffled_at,
    split_by_tokens,
    step_bounds,
    step_seed,
)

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=60)


def test_step_bounds() -> None:
    assert step_bounds(np.array([3, 4, 5, 9, 1, 1]), 8).tolist() == [0, 2, 3, 4, 6]


def test_the_batch_size_warms_up() -> None:
    for sizes, batch in (([1] * 200, (16, None)), ([1] * 200, (None, 16))):
        whole = Sampler(sizes, 0, *batch)
        growing, later = (Sampler(sizes, 0, *batch, batch_warmup=4, first_step=first_step) for first_step in (0, 100))
        assert [len(growing.examples(step)) for step in range(7)] == [2, 6, 9, 12, 16, 16, 16]
        for step in range(20):
            found = growing.examples(step).tolist()
            assert found == whole.examples(step)[: len(found)].tolist() == later.examples(100 + step).tolist()
        assert later.locate(103) == (0, 3)


def test_steps_by_tokens_of_a_stream_with_a_mean_size_look_up_no_sizes() -> None:
    def refuse(examples: np.ndarray) -> np.ndarray:
        raise AssertionError(examples)

    sampler = Sampler(LookedUpSizes(10**9, refuse, mean=100), 0, None, 6_450)
    assert sampler.steps_in(0) == 10**9 // 64
    assert [len(sampler.examples(step)) for step in (0, 7, 15_624_999)] == [64, 64, 64]


@settings(deadline=None)
@given(SIZES, st.integers(1, 30), st.booleans(), st.integers(0, 5))
def test_an_epoch_has_every_example_once(sizes: list[int], batch: int, by_tokens: bool, seed: int) -> None:
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
    divided = split_by_tokens(step, lengths, world)
    assert sorted(chain(*(each.tolist() for each in divided))) == list(range(len(sizes)))
    heavy = [lengths[each].sum() for each in divided]
    assert max(heavy) - min(heavy) <= max(sizes)
    parts = micro_batches(divided[0], lengths, tokens)
    assert sorted(chain(*parts)) == sorted(divided[0].tolist())
    in_order = [sizes[each] for each in chain(*parts)]
    assert in_order == sorted(in_order, reverse=True)
    assert all(len(part) == 1 or lengths[part].sum() <= tokens for part in parts)


def looked_up(sizes: list[int]) -> LookedUpSizes:
    """A stream whose example ``i`` of every epoch has ``sizes[i]`` tokens."""
    return LookedUpSizes(len(sizes), lambda examples: np.array(sizes)[examples % len(sizes)])


@settings(deadline=None)
@given(SIZES, st.integers(1, 30), st.booleans(), st.integers(0, 5), st.integers(1, 20), st.integers(1, 4))
def test_a_stream_is_a_shuffle_of_all_examples_wherever_it_is_resumed(
    sizes: list[int], batch: int, by_tokens: bool, seed: int, block: int, world: int
) -> None:
    def made() -> Sampler:
        return Sampler(looked_up(sizes), seed, None if by_tokens else batch, batch if by_tokens else None)

    with patch.object(module, "BLOCK", block):
        whole = made()
        for epoch in range(3):
            first = whole.steps_before(epoch)
            steps = [whole.examples(first + place).tolist() for place in range(whole.steps_in(epoch))]
            begin = epoch * len(sizes)
            assert sorted(chain(*steps)) == list(range(begin, begin + len(sizes)))
            expected = shuffled_at(np.arange(len(sizes)), len(sizes), seed, epoch) + begin
            assert list(chain(*steps)) == expected.tolist()
            for place, step in enumerate(steps):
                again = made()  # as after a resume
                assert again.examples(first + place).tolist() == step
                assert again.locate(first + place) == (epoch, place)
                parts = [each.tolist() for each in split_by_tokens(np.array(step), again.sizes, world)]
                assert sorted(chain(*parts)) == sorted(step)
                if by_tokens:
                    assert len(step) == 1 or sum(sizes[each - begin] for each in step) <= batch
                else:
                    assert len(step) == batch or place == len(steps) - 1
            if by_tokens:  # every step is full, except the last of a block
                ends = np.cumsum([len(step) for step in steps])
                for (one, other), end in zip(pairwise(steps), ends, strict=False):
                    assert end % block == 0 or sum(sizes[each - begin] for each in [*one, other[0]]) > batch


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**63 - 1), st.integers(0, 99), st.data())
def test_part_of_a_shuffle_equals_that_part_of_the_whole(
    count: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    whole = shuffled_at(np.arange(count), count, seed, epoch)
    assert sorted(whole.tolist()) == list(range(count))
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    assert shuffled_at(np.arange(start, stop), count, seed, epoch).tolist() == whole[start:stop].tolist()


def test_every_order_of_a_stream_is_about_as_likely() -> None:
    """24 orders in 4,800 epochs: with 23 degrees of freedom, chi-square is beyond 50 once in a thousand times."""
    orders = Counter(tuple(shuffled_at(np.arange(4), 4, 0, epoch).tolist()) for epoch in range(4800))
    assert sum((orders[order] - 200) ** 2 / 200 for order in orders) + 200 * (24 - len(orders)) < 50
    part = shuffled_at(np.arange(1000), 10**8, 0, 0)
    assert part.tolist() != shuffled_at(np.arange(1000), 10**8, 0, 1).tolist()
    assert abs(np.corrcoef(part[:-1], part[1:])[0, 1]) < 0.1
    assert np.histogram(part, 10, (0, 10**8))[0].min() > 60


@pytest.mark.parametrize("by_tokens", [False, True])
def test_a_stream_of_a_hundred_million_takes_a_few_megabytes(by_tokens: bool) -> None:
    sizes = LookedUpSizes(10**8, lambda examples: 100 + examples % 29)
    tracemalloc.start()
    try:
        sampler = Sampler(sizes, 3, None if by_tokens else 256, 32_768 if by_tokens else None)
        step = sampler.examples(1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert 250 < len(set(step.tolist())) < 350
    assert 0 <= step.min() < step.max() < 10**8


def test_shuffles_and_seeds_differ_and_repeat() -> None:
    assert shuffled(9, 1, 2).tolist() == shuffled(9, 1, 2).tolist()
    assert shuffled(9, 1, 2).tolist() != shuffled(9, 1, 3).tolist()
    assert len({step_seed(seed, step, rank) for seed in range(3) for step in range(9) for rank in range(3)}) == 81


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(InputError, match="no example to learn from"):
        Sampler([], 0, 4, None)
