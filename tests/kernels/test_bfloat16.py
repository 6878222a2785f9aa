"""Kernels for bfloat16 and float32, with every instruction set, against PyTorch in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bertie import InputError
from bertie.kernels import attention, library
from bertie.kernels.activations import bias_gelu, bias_gelu_backward
from bertie.kernels.cross_entropy import cross_entropy, cross_entropy_backward
from bertie.kernels.gemm import weight_gradient
from bertie.kernels.normalization import residual_norm, residual_norm_backward
from bertie.zero_copy import as_array, as_tensor

SETS = library.instruction_sets()
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_no_kernels()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
each_shape = pytest.mark.parametrize("shape", [(1, 1), (3, 31), (65, 48), (200, 130)], ids=str)


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def check(found: Tensor, expected: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """Whether both are equal up to rounding to the dtype of ``found``."""
    tolerance = 2**-8 if dtype == torch.bfloat16 else 3e-6
    torch.testing.assert_close(
        found.double(), expected, rtol=tolerance, atol=3e-6 * max(1, expected.abs().max().item())
    )


@each_set
@each_dtype
@each_shape
@pytest.mark.parametrize("threads", [1, 2])
def test_gelu(functions, dtype, shape, threads) -> None:
    x, dy, bias = 3 * drawn(*shape, dtype=dtype), drawn(*shape, dtype=dtype, seed=1), drawn(shape[1], seed=2)
    arrays = as_array(x), as_array(bias)
    y = as_tensor(bias_gelu(*arrays, functions, threads=threads))
    dx, dbias = map(as_tensor, bias_gelu_backward(as_array(dy), *arrays, functions, threads=threads))
    exact = (x.double() + bias).requires_grad_()
    F.gelu(exact).backward(dy.double())
    assert y.dtype == dx.dtype == dtype
    check(y, F.gelu(exact.detach()), dtype)
    check(dx, exact.grad, dtype)
    check(dbias, exact.grad.sum(0))


def test_gelu_of_large_inputs() -> None:
    """No exponential overflows, and NaN stays NaN."""
    functions = SETS[0]
    x = torch.tensor([[-1e30, -50.0, -13.5, 13.5, 50.0, 1e30, float("nan"), 0.0]])
    dx, _ = bias_gelu_backward(as_array(torch.ones(1, 8)), as_array(x), np.zeros(8, np.float32), functions, threads=1)
    np.testing.assert_allclose(dx[0], [0, 0, 0, 1, 1, 1, np.nan, 0.5], atol=1e-6)


@each_set
@each_dtype
@each_shape
@pytest.mark.parametrize("threads", [1, 2])
def test_residual_norm(functions, dtype, shape, threads) -> None:
    x, residual, dy = drawn(*shape, dtype=dtype), drawn(*shape, seed=1), drawn(*shape, seed=2)
    bias, weight, added = (drawn(shape[1], seed=seed) for seed in (3, 4, 5))
    norm = as_array(weight), as_array(added), 1e-3
    made = residual_norm(as_array(x), as_array(bias), as_array(residual), norm, None, functions, threads=threads)
    is_half = dtype == torch.bfloat16
    given = residual_norm_backward(as_array(dy), made, norm, None, functions, is_half=is_half, threads=threads)
    parameters = [each.double().requires_grad_() for each in (x, bias, residual, weight, added)]
    exact = F.layer_norm(parameters[2] + parameters[0] + parameters[1], shape[1:], parameters[3], parameters[4], 1e-3)
    exact.backward(dy.double())
    check(as_tensor(made.y), exact.detach())
    for found, parameter in zip(given, parameters, strict=True):
        torch.testing.assert_close(
            as_tensor(found).double(), parameter.grad, rtol=2**-8 if is_half else 1e-5, atol=2e-5
        )


@each_set
@each_dtype
@pytest.mark.parametrize("classes", [2, 33, 1000])
@pytest.mark.parametrize("threads", [1, 2])
def test_cross_entropy(functions, dtype, classes, threads) -> None:
    logits = 5 * drawn(7, classes, dtype=dtype)
    labels = torch.tensor([0, 1, classes - 1, -100, 1, 0, -100])
    weights = torch.arange(1.0, 8.0)
    losses, lse = cross_entropy(as_array(logits), labels.numpy(), functions, threads=threads)
    arrays = weights.numpy(), as_array(logits), labels.numpy(), lse
    gradient = as_tensor(cross_entropy_backward(*arrays, functions, threads=threads))
    exact = logits.double().requires_grad_()
    expected = F.cross_entropy(exact, labels, reduction="none")
    expected.backward(weights.double())
    check(as_tensor(losses), expected.detach())
    check(gradient, exact.grad, dtype)
    assert gradient.dtype == dtype


def test_labels_out_of_range() -> None:
    for label in (-1, 5):
        with pytest.raises(InputError, match="but there are 5 classes"):
            cross_entropy(np.zeros((1, 5), np.float32), np.array([label]), SETS[0], threads=1)


@each_set
@pytest.mark.parametrize("shape", [(0, 3, 4), (1, 1, 1), (33, 17, 5), (70, 40, 400), (1100, 400, 33)], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_weight_gradient(functions, shape, threads) -> None:
    if functions.weight_gradient is None:
        pytest.skip("no instructions that multiply bfloat16")
    tokens, columns, depth = shape
    dy, x = drawn(tokens, columns, dtype=torch.bfloat16), drawn(tokens, depth, dtype=torch.bfloat16, seed=1)
    found = as_tensor(weight_gradient(as_array(dy), as_array(x), functions, threads=threads))
    check(found, dy.double().t() @ x.double())
    with pytest.raises(InputError, match="takes bfloat16"):
        weight_gradient(as_array(dy.float()), as_array(x.float()), functions, threads=threads)


@each_set
@pytest.mark.parametrize("width", [20, 32, 96])
@pytest.mark.parametrize("dropped", [0.0, 0.3])
@pytest.mark.parametrize("queries", [None, [1, 3, 0, 40]], ids=["own", "others'"])
def test_attention(functions, width, dropped, queries) -> None:
    """Within bfloat16's rounding of inputs, weights and results; the same weights are dropped as in float32."""
    from bertie.kernels.dropout import dropout_params

    keys = [5, 0, 70, 33]
    starts = [np.cumsum([0, *each], dtype=np.int32) for each in (queries or keys, keys)]
    q, dy = (drawn(starts[0][-1], 2, width, dtype=torch.bfloat16, seed=seed) for seed in (0, 1))
    k, v = drawn(starts[1][-1], 2, 2, width, dtype=torch.bfloat16, seed=2).unbind(1)  # strided rows
    params = dropout_params(5, dropped) if dropped else None

    def run(*given: Tensor) -> list[Tensor]:
        arrays, lse = [as_array(each) for each in given], np.zeros(q.shape[:2], np.float32)
        y = attention.attention(*arrays[:3], *starts, functions, threads=2, dropout=params, lse=lse)
        gradients = attention.attention_backward(
            arrays[3], *arrays[:3], y, lse, *starts, functions, threads=2, dropout=params
        )
        return list(map(as_tensor, (y, *gradients, lse)))

    found, expected = run(q, k, v, dy), run(*(each.float() for each in (q, k, v, dy)))
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).norm() <= 0.006 * other.double().norm()
    assert {each.dtype for each in found[:4]} == {torch.bfloat16}


@each_set
def test_rounding_is_pytorchs(functions) -> None:
    """To nearest, ties to even; NaN stays NaN. A gradient of 1 times any number is that number, rounded."""
    bits = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    special = np.array([0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF, 0x3F808000, 0x3F818000, 0x7F7FFFFF], np.uint32)
    numbers = np.concatenate([bits, special]).view(np.float32)
    logits = as_array(torch.zeros(len(numbers), 1, dtype=torch.bfloat16))  # one class, which is never the label
    lse, labels = np.zeros(len(numbers), np.float32), np.zeros(len(numbers), np.int64)
    labels[:] = 1
    wide = np.concatenate([logits, np.full_like(logits, 0xFF80)], axis=1)  # the second class has probability 0
    found = as_tensor(cross_entropy_backward(numbers, wide, labels, lse, functions, threads=1))[:, 0]
    expected = torch.from_numpy(numbers).to(torch.bfloat16)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
