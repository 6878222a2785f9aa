"""Dropout by the kernels, and by 16 bits an element: rates, scale and gradients equal PyTorch's."""

import pytest
import torch
import torch.nn.functional as F

from bertie.dropout import Dropout, dropout, hashed_dropout
from bertie.kernels import library


@pytest.fixture(params=["by kernels", "by PyTorch"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test with and without compiled kernels."""
    if request.param == "by PyTorch":
        monkeypatch.setattr(library, "instruction_sets", lambda: ())
    elif why := library.why_no_kernels():
        pytest.skip(why)
    return str(request.param)


@pytest.mark.parametrize("p", [0.02, 0.1, 0.5, 0.9])
def test_elements_are_dropped_at_the_given_rate(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1001)
    found = dropout(x, p)
    share = float((found == 0).float().mean())
    assert abs(share - p) < 5 * (p * (1 - p) / x.numel()) ** 0.5 + 2**-17
    kept = found[found != 0]
    assert float(kept.min()) == float(kept.max()) == pytest.approx(1 / (1 - p), rel=1e-4)


def test_elements_and_calls_are_independent() -> None:
    torch.manual_seed(1)
    kept = (dropout(torch.ones(1_000_000), 0.5) > 0).float() - 0.5
    for apart in range(1, 9):
        assert abs(float((kept[apart:] * kept[:-apart]).mean())) < 0.001
    again = (dropout(torch.ones(1_000_000), 0.5) > 0).float() - 0.5
    assert abs(float((kept * again).mean())) < 0.001


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_gradient_uses_the_same_mask(dtype: torch.dtype, way: str) -> None:
    x = torch.randn(7, 5, dtype=dtype, requires_grad=True)
    found = dropout(x, 0.4)
    assert found.dtype == dtype
    weights = torch.randn(7, 5, dtype=dtype)
    (found * weights).sum().backward()
    assert x.grad is not None
    # kernels take only float32; 0.4 is not a multiple of 2^-16
    kept = 1 - 0.4 if way == "by kernels" and dtype == torch.float32 else 1 - round(0.4 * 65536) / 65536
    scale = torch.where(found == 0, 0.0, 1 / kept).to(dtype)
    torch.testing.assert_close(found, x.detach() * scale)
    torch.testing.assert_close(x.grad, weights * scale)


def test_the_seed_decides() -> None:
    x = torch.ones(33)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(dropout(x, 0.5))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_p_of_zero_and_one() -> None:
    x = torch.randn(9)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(dropout(x, 1.0), F.dropout(x, 1.0))
    assert dropout(torch.zeros(0, 3), 0.5).shape == (0, 3)
    module = Dropout(0.5)
    assert module.eval()(x) is x
    assert not torch.equal(module.train()(x), x)


def test_the_mask_does_not_depend_on_instruction_set_or_threads(way: str) -> None:
    if way == "by PyTorch":
        pytest.skip("it has neither")
    x, before, found = torch.ones(50_001), torch.get_num_threads(), []
    try:
        for functions in library.instruction_sets():
            for threads in (1, 3):
                torch.set_num_threads(threads)
                torch.manual_seed(0)
                found.append(hashed_dropout(x, 0.3, functions))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(each, found[0]) for each in found)


def test_second_derivatives() -> None:
    x = torch.randn(40, requires_grad=True)
    (first,) = torch.autograd.grad(dropout(x, 0.5).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(second, torch.where(first == 0, 0.0, 8.0))
