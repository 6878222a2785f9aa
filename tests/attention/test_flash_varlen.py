"""The variable-length kernel: when it is chosen, its operators' arguments, and, on a GPU, its dropout."""

import pytest
import torch

from bertie import Packed
from bertie.attention import Request, attend, explain, flash_varlen
from bertie.attention.request import Inputs

HALF = {"device": "cuda", "dtype": torch.bfloat16, "head_width": 64}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def line(**facts) -> str:
    return explain(Request(**{**HALF, **facts})).splitlines()[0]


def test_dropout_runs_in_the_kernel_where_its_private_operator_works(monkeypatch):
    monkeypatch.setattr(flash_varlen, "dropout_works", lambda: True)
    assert line(dropout_p=0.1) == "varlen    chosen"
    assert "graphs do not capture" in line(dropout_p=0.1, compiling=True)
    monkeypatch.setattr(flash_varlen, "dropout_works", lambda: False)
    assert "no working variable-length kernel with dropout" in line(dropout_p=0.1)
    assert line() == "varlen    chosen"


def test_the_probe_leaves_the_random_state():
    before = torch.get_rng_state()
    assert flash_varlen.dropout_works() == torch.cuda.is_available()
    assert torch.equal(torch.get_rng_state(), before)


def test_both_operators_take_these_arguments_and_have_gradients():
    q, k, v = (torch.empty(8, 2, 16, dtype=torch.bfloat16, device="meta", requires_grad=True) for _ in range(3))
    cu_seqlens = torch.empty(3, dtype=torch.int32, device="meta")
    answer = flash_varlen.flash_with_dropout(q, k, v, cu_seqlens, 64, False, 0.1)
    assert answer.shape == q.shape
    assert [each.shape for each in torch.autograd.grad(answer.sum(), (q, k, v))] == [q.shape] * 3
    batch = Packed(
        *[torch.empty(8, dtype=torch.int64, device="meta")] * 2, cu_seqlens, (2, 5), torch.empty(8, device="meta")
    )
    inputs = Inputs(q, k, v, batch, batch)
    context, weights = flash_varlen.Varlen().attend(inputs)
    assert context.shape == q.shape
    assert weights is None


@pytest.mark.cuda
@needs_cuda
def test_dropped_weights_are_right_on_average():
    packed = Packed.from_lists([[1] * 40, [1] * 7, [], [1] * 100]).to("cuda")
    q, k, v = (torch.randn(147, 2, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    whole, _ = attend(q, k, v, packed, backend="varlen")
    mean = torch.stack([attend(q, k, v, packed, dropout_p=0.2, backend="varlen")[0].float() for _ in range(2000)]).mean(
        0
    )
    torch.testing.assert_close(mean, whole.float(), atol=0.1, rtol=0)
    assert (attend(q, k, v, packed, dropout_p=0.2, backend="varlen")[0] != whole).any()


@pytest.mark.cuda
@needs_cuda
def test_dropout_follows_the_seed_and_its_gradient_the_dropped_weights():
    packed = Packed.from_lists([[1] * 40, [1] * 24]).to("cuda")
    qkv = [torch.randn(64, 2, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        context, _ = attend(*qkv, packed, dropout_p=0.3, backend="varlen")
        runs.append((context, *torch.autograd.grad(context.float().square().sum(), qkv)))
    torch.testing.assert_close(*runs, atol=1e-2, rtol=1e-2)
    # linear in v: the gradient of the sum over v, times v, is the sum itself
    torch.manual_seed(0)
    context, _ = attend(*qkv, packed, dropout_p=0.3, backend="varlen")
    (gradient,) = torch.autograd.grad(context.float().sum(), qkv[2])
    torch.testing.assert_close((gradient.float() * qkv[2].float()).sum(), context.float().sum(), atol=1.0, rtol=2e-2)
