"""The product kernels equal plain products for any shape, and rows do not affect each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertie.errors import InputError
from bertie.kernels import library
from bertie.kernels.gemm import GELU, NONE, RESIDUAL, PackedLinear, PackedWeight, matmul
from bertie.kernels.gemm_int8 import MAX_DEPTH_INT8, Int8PackedWeight, QuantParams, params_8_bits, params_16_bits
from bertie.layers.int8 import Int8Linear

SETS = library.instruction_sets()
VNNI = [functions for functions in SETS if functions.multiplies_bytes]
SLICING = [functions for functions in SETS if functions.pack_slices is not None]
pytestmark = pytest.mark.skipif(not SETS, reason=f"no compiled kernels here: {library.why_no_kernels()}")
each_set = pytest.mark.parametrize("functions", SETS, ids=lambda functions: functions.name)
each_slicing = pytest.mark.parametrize("functions", SLICING, ids=lambda functions: functions.name)
each_vnni = pytest.mark.parametrize("functions", VNNI, ids=lambda functions: functions.name)

shapes = st.tuples(st.integers(1, 30), st.integers(1, 70), st.integers(1, 70))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def operands(rows: int, depth: int, columns: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return drawn(rows, depth), drawn(columns, depth, seed=1) / depth**0.5, drawn(columns), drawn(rows, columns, seed=2)


def close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-5 * max(1, expected.abs().max()))


def packed(weight: Tensor, bias: Tensor, functions: library.InstructionSet) -> PackedWeight:
    return PackedWeight(weight.numpy(), bias.numpy(), functions)


def int8(
    weight: Tensor, scale: Tensor, bias: Tensor, how: QuantParams, functions: library.InstructionSet
) -> Int8PackedWeight:
    return Int8PackedWeight(weight.numpy(), scale.numpy(), bias.numpy(), how, functions)


def product(
    layer: PackedLinear, x: Tensor, epilogue: int = NONE, residual: Tensor | None = None, threads: int = 1
) -> Tensor:
    added = None if residual is None else residual.numpy()
    return torch.from_numpy(layer(x.numpy(), epilogue, added, threads=threads))


def unpacked(x: Tensor, weight: Tensor, bias: Tensor | None, functions: library.InstructionSet, threads: int) -> Tensor:
    """The product with unpacked weights, with a check that nothing is written past the end of the result."""
    rows, (columns, depth) = len(x), weight.shape
    room = torch.full((rows * columns + 40,), 7.0)
    added = None if bias is None else bias.data_ptr()
    addresses = weight.data_ptr(), added, x.data_ptr(), room.data_ptr()
    functions.linear_unpacked(*addresses, rows, depth, columns, threads)
    assert (room[rows * columns :] == 7).all()
    return room[: rows * columns].view(rows, columns)


class TestUnpacked:
    @each_set
    @settings(max_examples=60, deadline=None)
    @given(
        shape=st.tuples(st.integers(0, 110), st.integers(1, 70), st.integers(1, 70)),
        has_bias=st.booleans(),
        threads=st.integers(1, 3),
    )
    def test_any_shape(self, functions, shape, has_bias, threads) -> None:
        x, weight, bias, _ = operands(*shape)
        found = unpacked(x, weight, bias if has_bias else None, functions, threads)
        assert not shape[0] or close(found, F.linear(x, weight, bias if has_bias else None))

    @each_set
    def test_a_row_does_not_depend_on_its_batch(self, functions) -> None:
        x, weight, bias, _ = operands(60, 100, 33)
        together = unpacked(x, weight, bias, functions, 2)
        for rows in (1, 2, 5, 7, 24, 49):
            assert torch.equal(unpacked(x[:rows], weight, bias, functions, 1), together[:rows])

    @each_set
    def test_nan_stays_in_its_row_or_column(self, functions) -> None:
        x, weight, bias, _ = operands(5, 40, 9)
        x[1, 3], weight[4, 39] = float("nan"), float("inf")
        found = unpacked(x, weight, bias, functions, 1)
        assert found[1].isnan().all()
        assert torch.equal(found.isfinite(), F.linear(x, weight, bias).isfinite())


class TestFloats:
    @each_set
    @settings(max_examples=60, deadline=None)
    @given(shape=shapes)
    def test_any_shape(self, functions, shape) -> None:
        x, weight, bias, residual = operands(*shape)
        panels, plain = packed(weight, bias, functions), F.linear(x.double(), weight.double(), bias.double())
        assert close(product(panels, x), plain)
        assert close(product(panels, x, GELU), F.gelu(plain))
        assert close(product(panels, x, RESIDUAL, residual), plain + residual)

    @each_set
    def test_gelu_everywhere(self, functions) -> None:
        x = torch.cat([torch.linspace(-12, 12, 20_001), torch.tensor([-1e30, 1e30, -0.0])])[:, None]
        found = product(packed(torch.ones(1, 1), torch.zeros(1), functions), x, GELU)
        assert ((found - F.gelu(x.double())).abs() <= 1e-6 * x.clamp(min=1)).all()

    @each_set
    def test_nan_propagates(self, functions) -> None:
        x, weight, bias, _ = operands(5, 40, 33)
        x[2, 7] = float("nan")
        for after in (NONE, GELU):
            found = product(packed(weight, bias, functions), x, after)
            assert found.isnan().any(1).tolist() == [False, False, True, False, False]

    @each_set
    @settings(max_examples=30, deadline=None)
    @given(rows=st.integers(1, 200), first=st.integers(0, 199))
    def test_a_row_does_not_depend_on_its_batch(self, functions, rows, first) -> None:
        x, weight, bias, _ = operands(200, 48, 50)
        panels = packed(weight, bias, functions)
        assert torch.equal(product(panels, x)[first : first + rows], product(panels, x[first : first + rows]))

    @each_set
    def test_threads_share_a_product(self, functions) -> None:
        x, weight, bias, residual = operands(37, 96, 130)
        panels = packed(weight, bias, functions)
        alone = product(panels, x, RESIDUAL, residual)
        for threads in (1, 2, 3):
            assert torch.equal(product(panels, x, RESIDUAL, residual, threads), alone)

    @each_set
    def test_a_missing_residual_is_refused(self, functions) -> None:
        x, weight, bias, _ = operands(2, 3, 4)
        with pytest.raises(InputError, match="needs a residual"):
            product(packed(weight, bias, functions), x, RESIDUAL)

    @each_set
    def test_strided_rows(self, functions) -> None:
        x, weight, bias, _ = operands(9, 64, 40)
        panels = packed(weight[:, :32], bias, functions)
        assert torch.equal(product(panels, x[:, ::2]), product(panels, x[:, ::2].contiguous()))


def multiplied(a: Tensor, b: Tensor, functions: library.InstructionSet, threads: int = 1, **others) -> Tensor:
    return torch.from_numpy(matmul(a.numpy(), b.numpy(), functions, threads=threads, **others)[0])


class TestMatmul:
    """Unpacked matrices, transposed or not, also larger than a block."""

    @each_set
    @settings(max_examples=60, deadline=None)
    @given(
        shape=st.tuples(*[st.integers(0, 70) | st.sampled_from([383, 385, 511, 513, 1030])] * 3),
        is_transposed=st.tuples(st.booleans(), st.booleans()),
        has_bias=st.booleans(),
        threads=st.integers(1, 3),
    )
    def test_any_shape(self, functions, shape, is_transposed, has_bias, threads) -> None:
        rows, depth, columns = shape
        a, b = drawn(rows, depth), drawn(depth, columns, seed=1) / max(depth, 1) ** 0.5
        bias = drawn(columns, seed=2) if has_bias else torch.zeros(columns)
        a, b = (each.T.contiguous().T if is_so else each for each, is_so in zip((a, b), is_transposed, strict=True))
        found = multiplied(a, b, functions, threads, bias=bias.numpy() if has_bias else None)
        torch.testing.assert_close(found.double(), a.double() @ b.double() + bias, rtol=0, atol=1e-5)

    @each_set
    @pytest.mark.parametrize("shape", [(1, 1, 1), (40, 33, 65), (1100, 400, 30)], ids=str)
    def test_a_layers_product_and_gradients(self, functions, shape) -> None:
        tokens, depth, columns = shape
        x, weight, bias, _ = operands(tokens, depth, columns)
        dy = drawn(tokens, columns, seed=3)
        dweight, dbias = map(torch.from_numpy, matmul(dy.numpy().T, x.numpy(), functions, needs_sums=True, threads=2))
        exact = [each.double().requires_grad_() for each in (x, weight, bias)]
        y = F.linear(*exact)
        y.backward(dy.double())
        assert close(multiplied(x, weight.T, functions, bias=bias.numpy()), y.detach())
        for found, each in zip((multiplied(dy, weight, functions), dweight, dbias), exact, strict=True):
            assert close(found, each.grad)

    @each_set
    def test_rows_do_not_depend_on_batch_or_threads(self, functions) -> None:
        x, weight, bias, _ = operands(130, 600, 50)
        together = multiplied(x, weight.T, functions, 3, bias=bias.numpy())
        for rows in (1, 2, 7, 49, 130):
            assert torch.equal(multiplied(x[:rows], weight.T, functions, bias=bias.numpy()), together[:rows])
        one, other = (matmul(x.numpy().T, x.numpy(), functions, needs_sums=True, threads=each) for each in (1, 3))
        assert all(map(np.array_equal, one, other))

    @each_set
    def test_views(self, functions) -> None:
        """Strided rows, one row repeated, and matrices that are contiguous in no dimension."""
        a, b = drawn(20, 90), drawn(90, 66, seed=1)
        right = b[::3, 5:50]
        for left in (a[:, 3:33], a[::2, 30:60], a[:1, :30].expand(9, 30), a[:, ::3], a[:, :1].expand(20, 30)):
            assert close(multiplied(left, right, functions), left @ right)
            assert close(multiplied(right.T, left.T, functions), right.T @ left.T)

    @each_set
    def test_nan_stays_in_its_row(self, functions) -> None:
        a, b = drawn(5, 40), drawn(40, 33, seed=1)
        a[2, 7] = float("nan")
        assert multiplied(a, b, functions).isnan().any(1).tolist() == [False, False, True, False, False]

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(
            InputError, match=r"given float32 \[3, 4\]; it takes float32 whose last dimensions are \[5, 4\]"
        ):
            multiplied(drawn(2, 5), drawn(3, 4), SETS[0])
        with pytest.raises(InputError, match="transposed matrices only"):
            matmul(drawn(2, 3).numpy(), drawn(3, 4).numpy(), SETS[0], needs_sums=True, threads=1)


@pytest.mark.skipif(not SLICING, reason="the processor has no AMX")
class TestSlices:
    """AMX multiplies floats as three 8-bit integers each; blocks of 128 inputs share a scale."""

    @each_slicing
    @settings(max_examples=60, deadline=None)
    @given(
        shape=st.tuples(st.integers(1, 40), st.integers(1, 400), st.integers(1, 40)),
        powers=st.tuples(st.integers(0, 20), st.integers(0, 20)),
        seed=st.integers(0, 99),
    )
    def test_errors_are_bounded_by_the_largest_numbers(self, functions, shape, powers, seed) -> None:
        """A number's error is at most 2^-24 of the largest number with the same scale, which bounds sums of 128."""
        rows, depth, columns = shape
        spread = [drawn(depth, seed=seed + i) * power for i, power in enumerate(powers)]
        x, weight = drawn(rows, depth) * spread[0].exp2(), drawn(columns, depth, seed=1) * spread[1].exp2()
        exact = x.double() @ weight.double().T
        room = sum(
            128 * (a.abs().amax(1)[:, None] * b.abs().amax(1)).double()
            for a, b in zip(x.split(128, 1), weight.split(128, 1), strict=True)
        )
        for found in (product(packed(weight, torch.zeros(columns), functions), x), multiplied(x, weight.T, functions)):
            assert ((found - exact).abs() <= 2**-22 * room).all()

    @each_slicing
    def test_nearer_to_the_exact_sums_than_plain_ones(self, functions) -> None:
        """With some inputs 40 times as large as others, as in real models."""
        x, weight = drawn(60, 768), drawn(80, 768, seed=1)
        x[:, 70], x[::7, 400] = 40 * x[:, 70], 40.0
        exact = x.double() @ weight.double().T
        found, plain = product(packed(weight, torch.zeros(80), functions), x), F.linear(x, weight)
        assert (found - exact).square().mean() <= 1.1 * (plain - exact).square().mean()

    @each_slicing
    def test_a_large_number_disturbs_only_those_that_share_its_scale(self, functions) -> None:
        x, weight = drawn(3, 256), drawn(5, 256, seed=1)
        weight[:, 128:] = 0
        alone = product(packed(weight, torch.zeros(5), functions), x)
        x[1, 200] = 1e6
        assert torch.equal(product(packed(weight, torch.zeros(5), functions), x), alone)

    @each_slicing
    def test_zeros_tiny_and_huge_numbers(self, functions) -> None:
        x, weight, bias, _ = operands(4, 200, 20)
        x[0], x[1], x[2], weight[3] = 0, 1e-38, 1e38, 0
        found = product(packed(weight, bias, functions), x)
        assert torch.equal(found[0], bias)
        assert torch.allclose(found[1], bias)
        assert found.isfinite().all()
        assert torch.equal(found[:, 3], bias[3].expand(4))

    @each_slicing
    @pytest.mark.parametrize("size", [1e-28, 1e-20, 1e20, 1e35])
    def test_numbers_of_any_size(self, functions, size) -> None:
        x, weight = drawn(4, 200) * size, drawn(20, 200, seed=1) / 100
        exact = x.double() @ weight.double().T
        for found in (product(packed(weight, torch.zeros(20), functions), x), multiplied(x, weight.T, functions)):
            assert (found - exact).abs().max() <= 1e-6 * exact.abs().max()

    @each_slicing
    def test_sums_of_many_rows(self, functions) -> None:
        """All of one sign, so that sequential summation would have an error of some 5e-6."""
        dy = torch.rand(65536, 16, generator=torch.Generator().manual_seed(0))
        _, sums = matmul(dy.numpy().T, dy[:, :1].numpy(), functions, needs_sums=True, threads=1)
        exact = dy.double().sum(0).numpy()
        assert (abs(sums - exact) <= 1e-6 * exact).all()

    @each_slicing
    def test_nan_stays_in_its_column(self, functions) -> None:
        x, weight, bias, _ = operands(5, 300, 40)
        weight[4, 39], weight[20, 299] = float("inf"), float("nan")
        found = product(packed(weight, bias, functions), x)
        assert found.isnan().all(0).nonzero().flatten().tolist() == [4, 20]
        assert torch.equal(found.isnan().any(0), found.isnan().all(0))

    @each_slicing
    def test_more_than_is_sliced_at_a_time(self, functions) -> None:
        """More rows and inputs, and more columns, the last panel of which is not whole."""
        x, weight = drawn(210, 1100), drawn(3090, 1100, seed=1) / 33
        exact = x.double() @ weight.double().T
        assert close(multiplied(x, weight.T, functions, 2), exact)
        assert close(multiplied(weight, x.T, functions, 2).T, exact)


@pytest.mark.skipif(not VNNI, reason="the processor has no AVX-512 VNNI")
class TestInputsOf8Bits:
    @each_vnni
    @pytest.mark.parametrize("one_sided", [False, True])
    @pytest.mark.parametrize("smoothed", [False, True])
    @settings(max_examples=40, deadline=None)
    @given(shape=shapes)
    def test_equal_to_simulated_quantization(self, functions, one_sided, smoothed, shape) -> None:
        x, weight, bias, residual = operands(*shape)
        x = (F.gelu(3 * x) if one_sided else x) * drawn(len(x), 1).exp()
        how = params_8_bits(drawn(shape[1], seed=3).exp().numpy() if smoothed else None)
        scale = weight.abs().amax(1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8)
        panels = int8(whole, scale, bias, how, functions)
        plain, step = simulated(x, whole, scale, bias, how)
        # a number halfway between two integers may be rounded to either
        for after, expected in (
            (NONE, plain),
            (GELU, F.gelu(plain)),
            (RESIDUAL, plain + residual),
        ):
            assert ((product(panels, x, after, residual) - expected).abs() <= 1.2 * step + 1e-5).all()

    @each_vnni
    def test_rows_and_threads(self, functions) -> None:
        x, weight, bias, _ = operands(50, 64, 70)
        scale = weight.abs().amax(1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8)
        panels = int8(whole, scale, bias, params_8_bits(), functions)
        alone = product(panels, x)
        x[4, 2], x[5] = float("nan"), 0
        found = product(panels, x)
        assert found[4].isnan().all()
        assert torch.allclose(found[5], bias)
        assert torch.equal(found[6:], alone[6:])
        assert torch.equal(product(panels, x[6:9]), alone[6:9])


@pytest.mark.skipif(not VNNI, reason="the processor has no AVX-512 VNNI")
class TestTiles:
    """AMX multiplies 8-bit inputs of more than 16 rows, if 64 divides the depth."""

    @each_vnni
    @pytest.mark.parametrize("rows", [1, 16, 17, 31, 32, 33, 50, 193, 230])
    @pytest.mark.parametrize(("depth", "columns"), [(64, 33), (192, 64), (384, 1), (1024, 100)])
    def test_results_are_bitwise_the_same(self, functions, rows, depth, columns) -> None:
        x, weight, bias, residual = operands(rows, depth, columns)
        scale = weight.abs().amax(1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8)
        smooth = drawn(depth, seed=3).exp()
        tiled = int8(whole, scale, bias, params_8_bits(smooth.numpy()), functions)
        # with one more input, always 0, the depth no longer fills whole tiles
        smooth = F.pad(smooth, (0, 1))
        other = int8(F.pad(whole, (0, 1)), scale, bias, params_8_bits(smooth.numpy()), functions)
        for after in (NONE, GELU, RESIDUAL):
            for threads in (1, 3):
                expected = product(other, F.pad(x, (0, 1)), after, residual)
                assert torch.equal(product(tiled, x, after, residual, threads), expected)

    @each_vnni
    def test_a_row_that_is_not_finite_affects_no_other(self, functions) -> None:
        x, weight, bias, _ = operands(40, 64, 70)
        panels = int8((weight * 100).to(torch.int8), torch.ones(70), bias, params_8_bits(), functions)
        alone = product(panels, x)
        x[4, 2], x[5, 3] = float("nan"), float("inf")
        found = product(panels, x)
        assert found.isfinite().all(1).tolist() == [row not in (4, 5) for row in range(40)]
        assert torch.equal(found[6:], alone[6:])


class TestInputsOf16Bits:
    @each_set
    @pytest.mark.parametrize("smoothed", [False, True])
    @settings(max_examples=40, deadline=None)
    @given(shape=st.tuples(st.integers(1, 110), st.integers(1, 70), st.integers(1, 70)))
    def test_bitwise_what_numpy_computes_with_integers(self, functions, smoothed, shape) -> None:
        rows, depth, columns = shape
        numbers = np.random.default_rng(rows)
        x = numbers.standard_normal((rows, depth), np.float32) * np.exp(numbers.standard_normal((rows, 1), np.float32))
        weight = numbers.integers(-127, 128, (columns, depth), np.int8)
        scale, bias = abs(numbers.standard_normal((2, columns), np.float32))
        smooth = np.exp(numbers.standard_normal(depth, np.float32)) if smoothed else None
        how = params_16_bits(weight, smooth)
        scaled = x if smooth is None else x * smooth
        steps = 2 * abs(scaled).max(1, keepdims=True) * np.float32(how.step)
        whole = np.rint(scaled * (1 / steps)).astype(np.int64)
        sums = whole @ weight.T.astype(np.int64)
        assert abs(sums).max() < 2**31
        expected = sums.astype(np.float32) * (scale * steps) + bias
        residual = numbers.standard_normal((rows, columns), np.float32)
        layer = Int8PackedWeight(weight, scale, bias, how, functions)
        assert np.array_equal(layer(x, threads=1), expected)
        assert np.array_equal(layer(x, RESIDUAL, residual, threads=2), expected + residual)
        gelu = F.gelu(torch.from_numpy(expected).double())
        assert close(torch.from_numpy(layer(x, GELU, threads=1)), gelu)

    @each_set
    @pytest.mark.parametrize("depth", [1, 384, MAX_DEPTH_INT8])
    def test_the_largest_sums_fit(self, functions, depth) -> None:
        weight = np.full((3, depth), 127, np.int8)
        how = params_16_bits(weight)
        layer = Int8PackedWeight(weight, np.ones(3, np.float32), np.zeros(3, np.float32), how, functions)
        for number in (1.0, -1.0):
            product = layer(np.full((2, depth), number, np.float32), threads=1)
            assert product == pytest.approx(np.full((2, 3), 127 * depth * number), rel=1e-6)

    @each_set
    def test_rows_and_threads(self, functions) -> None:
        x, weight, bias, _ = operands(120, 64, 70)
        scale = weight.abs().amax(1) / 127
        whole = (weight / scale[:, None]).round().to(torch.int8)
        panels = int8(whole, scale, bias, params_16_bits(whole.numpy()), functions)
        alone = product(panels, x, threads=2)
        x[4, 2], x[5] = float("nan"), 0
        found = product(panels, x)
        assert found[4].isnan().all()
        assert torch.equal(found[5], bias)
        assert torch.equal(found[6:], alone[6:])
        assert torch.equal(product(panels, x[6:9]), alone[6:9])

    @each_set
    def test_8_bits_are_refused_without_vnni(self, functions) -> None:
        if functions.multiplies_bytes:
            pytest.skip("it has VNNI")
        with pytest.raises(InputError, match="8 bits need VNNI"):
            int8(
                torch.ones(1, 2, dtype=torch.int8),
                torch.ones(1),
                torch.zeros(1),
                params_8_bits(),
                functions,
            )


def simulated(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor, how: QuantParams) -> tuple[Tensor, Tensor]:
    """The quantized product in float64, and the largest effect of one quantization step of an input."""
    x = (x if how.smooth is None else x * torch.from_numpy(how.smooth)).double()
    low, high = (-x).amax(1, keepdim=True).clamp(min=0), x.amax(1, keepdim=True).clamp(min=0)
    steps = (low + high).clamp(min=1e-12) * how.step
    zero_point = (low / steps).round()
    whole = ((x / steps).round() + zero_point).clamp(0, 255) - zero_point
    unit = steps * scale.double()
    return whole @ weight.double().T * unit + bias, unit * weight.abs().amax(1)


def test_the_largest_depth_does_not_overflow() -> None:
    layer = Int8Linear(MAX_DEPTH_INT8, 1)
    with pytest.raises(InputError, match=f"of {MAX_DEPTH_INT8 + 1} inputs cannot be int8"):
        Int8Linear(MAX_DEPTH_INT8 + 1, 1)
    if functions := next(iter(VNNI), None):
        rounding = params_8_bits()
        weight = torch.full((1, MAX_DEPTH_INT8), 127, dtype=torch.int8)
        panels = int8(weight, torch.ones(1), torch.zeros(1), rounding, functions)
        assert product(panels, torch.ones(1, layer.in_features)).item() == pytest.approx(MAX_DEPTH_INT8 * 127, rel=1e-6)
        with pytest.raises(InputError, match="overflow"):
            int8(
                torch.ones(1, MAX_DEPTH_INT8 + 1, dtype=torch.int8), torch.ones(1), torch.zeros(1), rounding, functions
            )
