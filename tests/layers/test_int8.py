"""Int8 layers: products equal simulated quantization, rows do not affect each other, and modules behave as others."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bertie import InputError
from bertie.compression.observe import Inputs
from bertie.compression.rounding import _product, round_layers, round_table
from bertie.kernels import library
from bertie.layers.int8 import Int8Embedding, Int8Linear
from bertie.layers.linear import explain_product, make_deterministic

multiplies_bytes = any(each.multiplies_bytes for each in library.instruction_sets())
needs_vnni = pytest.mark.skipif(not multiplies_bytes, reason="without VNNI or sdot inputs have 16 bits")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(kind: str = "plain", seed: int = 0, out: int = 48) -> tuple[nn.Linear, Int8Linear, Tensor]:
    """A layer, its int8 form, and inputs of the kind that it gets."""
    torch.manual_seed(seed)
    plain = nn.Linear(64, out).requires_grad_(False)
    x = drawn(40, 64, seed=seed + 1)
    if kind == "smoothed":
        x[:, ::16] *= 30
    if kind == "one-sided":
        x = F.gelu(3 * x)
    (made,) = round_layers([plain], Inputs(x.abs().amax(0), [x]), kind == "smoothed").layers
    return plain, made, x


KINDS = ("plain", "smoothed", "one-sided")


class TestNumbers:
    @pytest.mark.parametrize("kind", KINDS)
    def test_close_to_the_floating_point_layer(self, kind: str) -> None:
        plain, made, x = layer_of(kind)
        for found in (made(x), _product(made, x)):
            assert F.cosine_similarity(found, plain(x), dim=1).min() > 0.999

    def test_what_calibration_chooses(self) -> None:
        assert layer_of("plain")[1].input_scale is None
        assert layer_of("smoothed")[1].input_scale is not None

    @pytest.mark.parametrize(("input_bits", "steps"), [(8, 254), (16, 2**16 - 2)])
    def test_each_row_is_rounded_within_its_own_range(self, input_bits: int, steps: int) -> None:
        made = Int8Linear(64, 64, bias=False, input_bits=input_bits)
        made.weight.data.copy_(torch.eye(64))
        x = F.gelu(3 * drawn(40, 64)) * drawn(40, 1, seed=1).exp()  # one-sided
        x[7] = 0
        low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
        width = high - low if input_bits == 8 else 2 * high
        assert ((_product(made, x) - x).abs() <= width / steps * 0.5001).all()
        if input_bits == 16 or multiplies_bytes:
            assert ((made(x) - x).abs() <= width / steps * 0.5001).all()
            assert ("inputs of 16 bits" in explain_product(made)) == (input_bits == 16)

    @needs_vnni
    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_to_simulated_quantization(self, kind: str) -> None:
        """Calibration measures by this simulation, on any processor."""
        _, made, x = layer_of(kind)
        assert torch.allclose(made(x), _product(made, x), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("kind", KINDS)
    def test_without_a_kernel_weights_are_dequantized(self, kind: str, without_kernels: Callable[[], None]) -> None:
        without_kernels()
        _, made, x = layer_of(kind)
        scaled = x if made.input_scale is None else x * made.input_scale
        assert torch.allclose(made(x), scaled @ (made.weight * made.weight_scale[:, None]).T + made.bias, atol=1e-5)
        assert explain_product(made) == "PyTorch's product with dequantized weights"
        with pytest.raises(InputError, match="is int8, and this processor has no kernel for it"):
            make_deterministic(made)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_other_dtypes(self, dtype: torch.dtype) -> None:
        plain, made, x = layer_of()
        made = made.to(dtype)
        assert made.weight.dtype == torch.int8
        found = made(x.to(dtype))
        assert found.dtype == dtype
        assert F.cosine_similarity(found.float(), plain(x), dim=1).min() > 0.999

    @settings(max_examples=40, deadline=None)
    @given(exponents=st.lists(st.floats(-12, 12), min_size=2, max_size=20), seed=st.integers(0, 99))
    def test_rows_of_mixed_size(self, exponents: list[float], seed: int) -> None:
        plain, made, _ = layer_of()
        x = drawn(len(exponents), 64, seed=seed) * torch.tensor(exponents).exp()[:, None]
        weight = made.weight.float() * made.weight_scale[:, None]
        lost = F.cosine_similarity(made(x) - plain.bias, x @ weight.T, dim=1)
        assert lost.min() >= 0.999

    def test_rows_of_zeros_and_no_rows(self) -> None:
        _, made, x = layer_of()
        x[3] = 0
        assert torch.allclose(made(x)[3], made.bias)
        assert made(x[:0]).shape == (0, 48)

    def test_a_row_that_is_not_finite_affects_no_other(self) -> None:
        _, made, x = layer_of()
        expected = made(x)
        x[3, 0] = float("nan")
        found = made(x)
        assert torch.equal(found[:3], expected[:3])
        assert not found[3].isfinite().any()


class TestModule:
    @needs_vnni
    def test_a_text_does_not_depend_on_its_batch(self) -> None:
        for kind in KINDS:
            _, made, x = layer_of(kind)
            make_deterministic(made)
            for rows in (slice(0, 1), slice(3, 20)):
                assert torch.equal(made(x[rows]), made(x)[rows])

    def test_changed_weights_and_copies(self) -> None:
        _, made, x = layer_of()
        before = made(x)
        for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
            assert torch.equal(twin(x), before)
        made.weight_scale.data[5] *= 2
        made.weight.numpy()[7] = 0
        made.bias.data[20:30] += 5
        found, expected = made(x), before.clone()
        expected[:, 5] += before[:, 5] - made.bias[5]
        expected[:, 7] = made.bias[7]
        expected[:, 20:30] += 5
        assert torch.allclose(found, expected, atol=1e-5)
        assert list(made.state_dict()) == ["weight", "weight_scale", "bias"]

    def test_any_shape(self) -> None:
        _, made, x = layer_of()
        assert torch.equal(made(x.view(4, 10, 64)), made(x).view(4, 10, 48))

    def test_captured_graphs_use_dequantized_weights(self) -> None:
        plain, made, x = layer_of()
        found = torch.export.export(made, (x,)).module()(x)
        assert F.cosine_similarity(found, plain(x), dim=1).min() > 0.999


class TestTraining:
    def test_refused(self) -> None:
        _, made, x = layer_of()
        with pytest.raises(InputError, match="cannot be trained"):
            made.train()
        with pytest.raises(InputError, match="cannot be trained"):
            made(x.requires_grad_())
        assert made.eval() is made


def test_table_of_embeddings() -> None:
    plain = nn.Embedding(30, 16)
    made = round_table(plain)
    ids = torch.tensor([[0, 29], [3, 3]])
    assert F.cosine_similarity(made(ids), plain(ids), dim=-1).min() > 0.9999
    assert isinstance(made, Int8Embedding)
    assert made(torch.zeros(0, dtype=torch.long)).shape == (0, 16)
