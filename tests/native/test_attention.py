"""Our own attention: the numbers of PyTorch's for any lengths, heads and widths, and for keys of another batch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertie import InputError
from bertie.native import library
from bertie.native.attention import attention

SETS = library.instruction_sets()
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_none()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)


def starts(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def reference(q: Tensor, k: Tensor, v: Tensor, queries: list[int], keys: list[int]) -> Tensor:
    parts = zip(q.split(queries), k.split(keys), v.split(keys), strict=True)
    found = [q[:0].double()]
    for part in parts:
        own_q, own_k, own_v = (each[None].transpose(1, 2).double() for each in part)
        one = F.scaled_dot_product_attention(own_q, own_k, own_v) if own_k.shape[2] else torch.zeros_like(own_q)
        found.append(one[0].transpose(0, 1))
    return torch.cat(found)


@each_set
@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 70)), min_size=1, max_size=6),
    heads=st.integers(1, 3),
    width=st.integers(1, 70),
    own_keys=st.booleans(),
)
def test_any_lengths(functions, texts, heads, width, own_keys) -> None:
    queries = [queries for queries, _ in texts]
    keys = queries if own_keys else [keys for _, keys in texts]
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(sum(queries), heads, width, generator=draw)
    k, v = torch.randn(sum(keys), 2, heads, width, generator=draw).unbind(1)
    found = attention(q, k, v, starts(queries), starts(keys), max(keys), functions)
    expected = reference(q, k, v, queries, keys)
    assert found.shape == q.shape
    assert (found - expected).abs().max() <= 1e-5 if len(q) else True


@each_set
def test_large_scores_and_long_texts(functions) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(700, 3, 2, 32, generator=draw).unbind(1)
    found = attention(30 * q, k, v, starts([188, 512]), starts([188, 512]), 512, functions)
    assert (found - reference(30 * q, k, v, [188, 512], [188, 512])).abs().max() <= 1e-4


@each_set
def test_what_is_not_a_number_stays_visible_and_in_its_text(functions) -> None:
    q, k, v = torch.randn(12, 3, 2, 16, generator=torch.Generator().manual_seed(0)).unbind(1)
    k = k.clone()
    k[2, 0, 0] = float("nan")
    found = attention(q, k, v, starts([5, 7]), starts([5, 7]), 7, functions)
    assert found[:5, 0].isnan().all()
    assert found[:5, 1].isfinite().all()
    assert found[5:].isfinite().all()


@each_set
@pytest.mark.parametrize("ends", [torch.tensor([0, 5, 11], dtype=torch.int32), torch.tensor([0, 5, 12])])
def test_other_texts_are_refused(functions, ends) -> None:
    q, k, v = torch.randn(12, 3, 2, 16).unbind(1)
    with pytest.raises(InputError, match="12 are given"):
        attention(q, k, v, ends, ends, 7, functions)


@each_set
def test_threads(functions) -> None:
    q, k, v = torch.randn(40, 3, 3, 24, generator=torch.Generator().manual_seed(0)).unbind(1)
    ends, before = starts([9, 31]), torch.get_num_threads()
    alone = attention(q, k, v, ends, ends, 31, functions)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            assert torch.equal(attention(q, k, v, ends, ends, 31, functions), alone)
    finally:
        torch.set_num_threads(before)
