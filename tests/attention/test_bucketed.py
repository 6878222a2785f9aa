"""Attention in buckets: without its dropout it is plain attention, whatever lengths share a rectangle."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bertie
from bertie.attention import bucketed
from bertie.attention.attend import attend, choose
from bertie.attention.request import Request

HEADS, WIDTH = 2, 4


def tensors(tokens: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(tokens)
    return [torch.randn(tokens, HEADS, WIDTH, dtype=dtype, generator=draw).requires_grad_() for _ in range(3)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=7), st.booleans(), st.sampled_from([0, 20, 10**6]))
def test_equals_attention_by_groups(lengths: list[int], causal: bool, scores: int) -> None:
    packed = bertie.Packed.from_lists([[1] * length for length in lengths])
    ours, theirs = tensors(packed.num_tokens), tensors(packed.num_tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucketed, "dropout", lambda x, p: x)
        patch.setattr(bucketed, "SCORES", scores)
        bucketed._buckets.cache_clear()
        found, _ = attend(*ours, packed, causal=causal, dropout_p=0.1, backend="bucketed")
    bucketed._buckets.cache_clear()
    expected, _ = attend(*theirs, packed, causal=causal, backend="grouped")
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    for context in (found, expected):
        (context * weights).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad if packed.num_tokens else mine.grad)


def test_texts_of_similar_length_share_a_rectangle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucketed, "SCORES", 20)
    assert bucketed._cut([6, 5, 5, 2, 2, 1]) == [[6, 5], [5], [2, 2, 1]]
    assert bucketed._cut([]) == []


def test_weights_are_dropped_as_often_as_asked() -> None:
    torch.manual_seed(0)
    packed = bertie.Packed.from_lists([[1] * 40, [1] * 38])
    q, k, _ = tensors(packed.num_tokens, torch.float32)
    plain, _ = attend(q, k, torch.ones_like(k), packed, backend="grouped")
    torch.testing.assert_close(plain, torch.ones_like(plain))
    found = [attend(q, k, torch.ones_like(k), packed, dropout_p=0.3, backend="bucketed")[0] for _ in range(50)]
    each = torch.stack(found).detach()
    assert abs(float(each.mean()) - 1) < 0.01
    assert float(each.std()) > 0.05


def test_it_serves_dropout_on_a_cpu_alone() -> None:
    dropping = Request("cpu", torch.float64, 64, dropout_p=0.1)
    assert choose(dropping).name == "bucketed"
    for changed, reason in (
        ({"dropout_p": 0.0}, "without dropout"),
        ({"device": "cuda"}, "made for a CPU"),
        ({"foreign_keys": True}, "another batch"),
        ({"compiling": True}, "graph is captured"),
        ({"weights": True}, "weights are asked for"),
    ):
        request = Request(**{**vars(dropping), **changed})
        assert any(reason in objection for objection in bucketed.Bucketed().why_not(request))
