"""The attention kernel equals PyTorch's, with gradients, for any lengths, heads and widths, and for other keys."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertie import InputError
from bertie.attention.native import attention_autograd
from bertie.kernels import attention as kernel
from bertie.kernels import library

SETS = library.instruction_sets()
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_no_kernels()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)


@st.composite
def lengths(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Draw the number of queries and of keys of each text, equal or not."""
    texts = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 70)), min_size=1, max_size=6))
    queries = [queries for queries, _ in texts]
    return queries, queries if draw(st.booleans()) else [keys for _, keys in texts]


any_batch = given(texts=lengths(), heads=st.integers(1, 3), width=st.integers(1, 70))


def texts_of(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def attention(q: Tensor, k: Tensor, v: Tensor, queries: Tensor, keys: Tensor, functions, threads: int = 1) -> Tensor:
    arrays = (each.numpy() for each in (q, k, v, queries, keys))
    return torch.from_numpy(kernel.attention(*arrays, functions, threads=threads))


def drawn_for(queries: tuple[int, ...], keys: tuple[int, ...], width: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal((sum(each), 2, width), np.float32) for each in (queries, keys, keys)]


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
@any_batch
def test_any_lengths(functions, texts, heads, width) -> None:
    queries, keys = texts
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(sum(queries), heads, width, generator=draw)
    k, v = torch.randn(sum(keys), 2, heads, width, generator=draw).unbind(1)
    found = attention(q, k, v, texts_of(queries), texts_of(keys), functions)
    expected = reference(q, k, v, queries, keys)
    assert found.shape == q.shape
    assert (found - expected).abs().max() <= 1e-5 if len(q) else True


@each_set
def test_large_scores_and_long_texts(functions) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(700, 3, 2, 32, generator=draw).unbind(1)
    found = attention(30 * q, k, v, texts_of([188, 512]), texts_of([188, 512]), functions)
    assert (found - reference(30 * q, k, v, [188, 512], [188, 512])).abs().max() <= 1e-4


@each_set
def test_nan_propagates_within_its_text(functions) -> None:
    q, k, v = torch.randn(12, 3, 2, 16, generator=torch.Generator().manual_seed(0)).unbind(1)
    k = k.clone()
    k[2, 0, 0] = float("nan")
    found = attention(q, k, v, texts_of([5, 7]), texts_of([5, 7]), functions)
    assert found[:5, 0].isnan().all()
    assert found[:5, 1].isfinite().all()
    assert found[5:].isfinite().all()


@each_set
@pytest.mark.parametrize(
    "starts", [[0, 5, 11], [0, 100, 12], [0, -5, 12], [5, 5, 12], [0, 2**31 - 1, 12], [0, 11], [-(2**31), 12]]
)
def test_invalid_cu_seqlens_are_refused(functions, starts) -> None:
    q, k, v = torch.randn(12, 3, 2, 16).unbind(1)
    wrong, right = torch.tensor(starts, dtype=torch.int32), texts_of([5, 7][: len(starts) - 1])
    for queries, keys in ((wrong, wrong), (right, wrong), (wrong, right)):
        for compute in (attention, attention_autograd):
            with pytest.raises(InputError, match="must rise from 0 to 12"):
                compute(q, k, v, queries, keys, functions)


@each_set
def test_other_dtypes_and_shapes_are_refused(functions) -> None:
    q, k, v = torch.randn(12, 3, 2, 16).unbind(1)
    texts = texts_of([5, 7])
    for wrong in (
        (q.double(), k, v, texts, texts),
        (q, k, v[:, :, :8], texts, texts),
        (q, k[:, :1], v[:, :1], texts, texts),
        (q, k, v[:6], texts, texts),
        (q, k, v, texts, texts_of([12])),
        (q, k, v, texts.long(), texts),
    ):
        with pytest.raises(InputError):
            attention(*wrong, functions)


@each_set
def test_threads(functions) -> None:
    q, k, v = torch.randn(40, 3, 3, 24, generator=torch.Generator().manual_seed(0)).unbind(1)
    texts = texts_of([9, 31])
    alone = attention(q, k, v, texts, texts, functions)
    for threads in (1, 2, 5):
        assert torch.equal(attention(q, k, v, texts, texts, functions, threads), alone)


class TestApproximate:
    """AMX's bfloat16 products are used for long texts only; elsewhere results are those of float32."""

    LENGTHS = (5, 260, 191, 192)

    @staticmethod
    def attended(functions, queries: tuple[int, ...], keys: tuple[int, ...], width: int, threads: int = 1) -> Tensor:
        q, k, v = drawn_for(queries, keys, width)
        starts = texts_of([*queries]).numpy(), texts_of([*keys]).numpy()
        found = kernel.attention(q, k, v, *starts, functions, approximate=True, threads=threads)
        return torch.from_numpy(found)

    @each_set
    @pytest.mark.parametrize("width", [20, 32, 64])
    @pytest.mark.parametrize("queries", [LENGTHS, (3, 1, 0, 40)])
    def test_near_float32_and_equal_in_short_texts(self, functions, width, queries) -> None:
        found = self.attended(functions, queries, self.LENGTHS, width)
        q, k, v = map(torch.from_numpy, drawn_for(queries, self.LENGTHS, width))
        plain = attention(q, k, v, texts_of([*queries]), texts_of([*self.LENGTHS]), functions)
        for ours, exact, keys in zip(found.split(queries), plain.split(queries), self.LENGTHS, strict=True):
            assert torch.equal(ours, exact) if keys < 192 else bool(((ours - exact).abs() <= 0.02).all())

    @each_set
    def test_a_text_does_not_depend_on_its_batch(self, functions) -> None:
        together = self.attended(functions, self.LENGTHS, self.LENGTHS, 32)
        for threads in (2, 3):
            assert torch.equal(self.attended(functions, self.LENGTHS, self.LENGTHS, 32, threads), together)
        q, k, v = (each[5:265] for each in drawn_for(self.LENGTHS, self.LENGTHS, 32))
        starts = texts_of([260]).numpy()
        alone = kernel.attention(q, k, v, starts, starts, functions, approximate=True, threads=1)
        assert torch.equal(torch.from_numpy(alone), together[5:265])

    @each_set
    def test_a_subset_of_queries_gives_the_same_context(self, functions) -> None:
        q, k, v = drawn_for((260,), (260,), 32)
        keys = texts_of([260]).numpy()

        def found(some: slice) -> Tensor:
            starts = texts_of([len(q[some])]).numpy()
            return torch.from_numpy(
                kernel.attention(q[some], k, v, starts, keys, functions, approximate=True, threads=1)
            )

        assert torch.equal(found(slice(70, 73)), found(slice(None))[70:73])

    @each_set
    def test_nan_propagates_within_its_text(self, functions) -> None:
        q, k, v = drawn_for((200, 200), (200, 200), 32)
        k[60, 0, 0] = float("nan")
        starts = texts_of([200, 200]).numpy()
        found = torch.from_numpy(kernel.attention(q, k, v, starts, starts, functions, approximate=True, threads=1))
        assert found[:200, 0].isnan().all()
        assert found[:200, 1].isfinite().all()
        assert found[200:].isfinite().all()


@each_set
@settings(max_examples=80, deadline=None)
@any_batch
def test_gradients_for_any_lengths(functions, texts, heads, width) -> None:
    queries, keys = texts
    draw = torch.Generator().manual_seed(0)
    q = torch.randn(sum(queries), heads, width, generator=draw, requires_grad=True)
    fused = torch.randn(sum(keys), 2, heads, width, generator=draw, requires_grad=True)
    slope = torch.randn(q.shape, generator=draw)
    found = attention_autograd(q, *fused.unbind(1), texts_of(queries), texts_of(keys), functions)
    expected = reference(q, *fused.unbind(1), queries, keys)
    ours, theirs = (
        torch.autograd.grad(context, (q, fused), slope.to(context.dtype)) if len(q) and len(fused) else ()
        for context in (found, expected)
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@each_set
def test_gradients_of_large_scores(functions) -> None:
    qkv = (5 * torch.randn(700, 3, 2, 32, generator=torch.Generator().manual_seed(0))).requires_grad_()
    texts = texts_of([188, 512])
    found = attention_autograd(*qkv.unbind(1), texts, texts, functions)
    expected = reference(*qkv.unbind(1), [188, 512], [188, 512])
    ours, theirs = (torch.autograd.grad(context.square().sum(), qkv)[0] for context in (found, expected))
    assert (ours - theirs).abs().max() <= 3e-5 * theirs.abs().max()


@each_set
def test_nan_reaches_the_gradients(functions) -> None:
    qkv = torch.randn(12, 3, 2, 16, generator=torch.Generator().manual_seed(0))
    qkv[2, 1, 0, 0] = float("nan")
    qkv.requires_grad_()
    texts = texts_of([5, 7])
    attention_autograd(*qkv.unbind(1), texts, texts, functions).sum().backward()
    assert qkv.grad[:5, :, 0].isnan().any(dim=-1).all()
    assert qkv.grad[5:].isfinite().all()


@each_set
def test_weights_are_dropped_at_the_given_rate(functions) -> None:
    texts, share = texts_of([60, 40]), 0.3
    q = torch.zeros(100, 2, 8)
    torch.manual_seed(0)
    # all weights are equal, so each token's context counts the kept keys
    found = attention_autograd(q, q, torch.ones_like(q), texts, texts, functions, share)
    kept = found[:, :, 0] * (1 - share) * torch.tensor([60.0] * 60 + [40.0] * 40)[:, None]
    assert torch.allclose(kept, kept.round(), atol=1e-3)
    weights = 2 * (60**2 + 40**2)
    assert abs(float(kept.sum()) / weights - (1 - share)) < 4 * (share * (1 - share) / weights) ** 0.5
    assert not torch.equal(kept[:60, 0], kept[:60, 1])
    for seed, same in ((0, True), (1, False)):
        torch.manual_seed(seed)
        again = attention_autograd(q, q, torch.ones_like(q), texts, texts, functions, share)
        assert torch.equal(again, found) is same


@each_set
def test_the_gradient_uses_the_same_mask(functions) -> None:
    """The reference is PyTorch's gradient with the same mask, which is read from contexts, one key at a time."""
    texts, draw = texts_of([9, 37]), torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(46, 2, 40, generator=draw, requires_grad=True) for _ in range(3))
    slope = torch.randn(46, 2, 40, generator=draw)

    def run(*qkv: Tensor) -> Tensor:
        torch.manual_seed(3)
        return attention_autograd(*qkv, texts, texts, functions, 0.4)

    found = torch.autograd.grad(run(q, k, v), (q, k, v), slope)
    # values that are 1 at one key and 0 elsewhere show which of its weights were kept
    zeros, left = torch.zeros(46, 2, 40), torch.zeros(2, 46, 46)
    for key in range(46):
        one = zeros.clone()
        one[key] = 1
        left[:, :, key] = run(torch.zeros_like(q), torch.zeros_like(k), one)[:, :, 0].T
    expected = []
    for first, stop in ((0, 9), (9, 46)):
        own = [each[first:stop].transpose(0, 1).double() for each in (q, k, v)]
        weights = torch.softmax(own[0] @ own[1].transpose(1, 2) / 40**0.5, dim=-1)
        kept = (left[:, first:stop, first:stop] > 0) / 0.6
        expected.append(((weights * kept) @ own[2]).transpose(0, 1))
    wanted = torch.autograd.grad(torch.cat(expected), (q, k, v), slope.double())
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@each_set
def test_threads_share_gradients(functions) -> None:
    qkv = torch.randn(40, 3, 3, 24, generator=torch.Generator().manual_seed(0)).requires_grad_()
    texts, before, found = texts_of([9, 31]), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            context = attention_autograd(*qkv.unbind(1), texts, texts, functions, 0.2)
            found.append(torch.autograd.grad(context.square().sum(), qkv)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
