"""Int8 layers: products as the same rounding in plain numbers, rows that do not disturb each other, and their place."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bertie import InputError
from bertie.compression.observe import Inputs
from bertie.compression.rounding import round_layers, round_table
from bertie.kernels import library
from bertie.layers import linear as views
from bertie.layers import operators
from bertie.layers.chip import chip
from bertie.layers.int8 import Int8Embedding, Int8Linear, Steps, bits_of, halved, row_divisors
from bertie.layers.int8_products import Int8Native, Int8Product
from bertie.layers.kernels import Weights, choose
from bertie.layers.linear import linear, linear_activated, linear_added, linears, make_deterministic

needs_x86 = pytest.mark.skipif(not operators.int8_works("x86"), reason="this PyTorch has no engine x86")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer_of(kind: str = "plain", seed: int = 0, out: int = 48) -> tuple[nn.Linear, Int8Linear, Tensor]:
    """A layer, its int8 form and inputs of the kind it reads."""
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
        for found in (linear(x, made), made(x)):
            assert F.cosine_similarity(found, plain(x), dim=1).min() > 0.999

    def test_what_calibration_chooses(self) -> None:
        assert layer_of("plain")[1].input_scale is None
        assert layer_of("plain")[1].input_range is None
        assert layer_of("smoothed")[1].input_scale is not None
        low, top = layer_of("one-sided")[1].input_range.tolist()
        assert -0.1701 < low < -0.169
        assert top > -2 * low

    @needs_x86
    @pytest.mark.parametrize("vnni", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_equal_to_the_same_rounding_in_plain_numbers(self, kind: str, vnni: bool) -> None:
        if vnni and not chip().vnni:
            pytest.skip("8 by 8 bits overflow without VNNI")
        _, made, x = layer_of(kind)
        found = Int8Product([made], "x86", vnni)(x)
        assert torch.allclose(found, simulated(made, x, vnni), rtol=1e-4, atol=1e-4)

    @pytest.mark.skipif(not operators.int8_works("onednn"), reason="this PyTorch has no engine onednn")
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_engine_onednn(self, kind: str) -> None:
        plain, made, x = layer_of(kind)
        found = Int8Product([made], "onednn", vnni=chip().vnni)(x)
        assert F.cosine_similarity(found, plain(x), dim=1).min() > 0.998

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    def test_other_types_of_numbers(self, dtype: torch.dtype) -> None:
        plain, made, x = layer_of()
        made = made.to(dtype)
        assert made.weight.dtype == torch.int8
        found = linear(x.to(dtype), made)
        assert found.dtype == dtype
        assert F.cosine_similarity(found.float(), plain(x), dim=1).min() > 0.999

    @needs_x86
    @settings(max_examples=40, deadline=None)
    @given(exponents=st.lists(st.floats(-12, 12), min_size=2, max_size=20), seed=st.integers(0, 99))
    def test_rows_of_mixed_size(self, exponents: list[float], seed: int) -> None:
        plain, made, _ = layer_of()
        x = drawn(len(exponents), 64, seed=seed) * torch.tensor(exponents).exp()[:, None]
        weight = made.weight.float() * made.weight_scale[:, None]
        lost = F.cosine_similarity(linear(x, made) - plain.bias, x @ weight.T, dim=1)
        assert lost.min() >= 0.999

    def test_rows_of_zeros_and_no_rows(self) -> None:
        _, made, x = layer_of()
        x[3] = 0
        assert torch.allclose(linear(x, made)[3], made.bias)
        assert linear(x[:0], made).shape == (0, 48)

    def test_a_row_that_is_not_finite_spoils_no_other(self) -> None:
        _, made, x = layer_of()
        expected = linear(x, made)
        x[3, 0] = float("nan")
        found = linear(x, made)
        assert torch.equal(found[:3], expected[:3])
        assert not found[3].isfinite().any()


def simulated(made: Int8Linear, x: Tensor, vnni: bool) -> Tensor:
    """The product of an int8 layer, rounded step by step in float64."""
    limits = None if made.input_range is None else made.input_range.tolist()
    bits, weight_bits = bits_of(limits is not None, vnni)
    steps = Steps(1.0 if limits is None else -limits[0] / limits[1], bits)
    weight, scale = (made.weight, made.weight_scale) if weight_bits == 8 else halved(made.weight, made.weight_scale)
    x = x if made.input_scale is None else x * made.input_scale
    divisors = row_divisors(x, limits)
    whole = ((x / divisors / steps.scale).round() + steps.zero_point).clamp(0, 255) - steps.zero_point
    product = whole.double() @ weight.double().T * (steps.scale * scale.double())
    return (product * divisors + made.bias).float()


class TestRounding:
    def test_steps(self) -> None:
        assert (Steps(1.0, 8).scale, Steps(1.0, 8).zero_point) == (2 / 254, 127)
        assert (Steps(0.0, 7).scale, Steps(0.0, 7).zero_point) == (1 / 126, 0)
        for low in (0.06, 0.17, 1.0):
            for bits in (7, 8):
                steps = Steps(low, bits)
                assert round(-low / steps.scale) + steps.zero_point >= 0
                assert round(1 / steps.scale) + steps.zero_point <= 2**bits - 1

    def test_two_products_fit_16_bits(self) -> None:
        for one_sided in (False, True):
            inputs, weights = bits_of(one_sided, vnni=False)
            assert 2 * (2**inputs - 1) * (2 ** (weights - 1) - 1) <= 2**15 - 1
        assert bits_of(False, vnni=True) == (8, 8)

    def test_halved(self) -> None:
        weight, scale = halved(torch.tensor([[-127, -3, 0, 1, 64, 127]], dtype=torch.int8), torch.tensor([0.5]))
        assert weight.tolist() == [[-63, -2, 0, 0, 32, 63]]
        assert scale.tolist() == [1.0]


@needs_x86
class TestViews:
    def test_several_layers_in_one_product(self) -> None:
        layers = [layer_of(seed=seed, out=out)[1] for seed, out in ((0, 48), (1, 16), (2, 8))]
        x = drawn(9, 64)
        for found, each in zip(linears(x, *layers), layers, strict=True):
            assert torch.equal(found, linear(x, each))
        assert isinstance(views._known(layers[0], 3).prepared, Int8Product | Int8Native)

    def test_layers_that_read_in_different_ways(self) -> None:
        layers = [layer_of(kind)[1] for kind in KINDS]
        x = drawn(9, 64)
        for found, each in zip(linears(x, *layers), layers, strict=True):
            assert torch.equal(found, linear(x, each))

    def test_activation_and_residual(self) -> None:
        _, made, x = layer_of()
        residual, plain = drawn(40, 48, seed=5), linear(x, made)
        assert torch.allclose(linear_activated(x, made, F.gelu), F.gelu(plain))
        assert torch.allclose(linear_added(x, made, nn.Dropout(0.1).eval(), residual), plain + residual, atol=1e-5)

    def test_a_text_does_not_depend_on_its_batch(self) -> None:
        if choose(Weights("cpu", torch.int8)).name == "int8-onednn":
            pytest.skip("the engine onednn rounds a batch together")
        _, made, x = layer_of("smoothed")
        for rows in (slice(0, 1), slice(3, 20)):
            assert torch.equal(linear(x[rows], made), linear(x, made)[rows])

    def test_deterministic(self) -> None:
        _, made, x = layer_of()
        make_deterministic(made)
        assert torch.equal(linear(x[:3], made), linear(x, made)[:3])

    def test_changed_weights_and_copies(self) -> None:
        _, made, x = layer_of()
        before = linear(x, made)
        for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
            assert torch.equal(linear(x, twin), before)
        with torch.no_grad():
            made.weight_scale.mul_(2)
        assert torch.allclose(linear(x, made) - made.bias, 2 * (before - made.bias), atol=1e-5)
        assert list(made.state_dict()) == ["weight", "weight_scale", "bias"]


class TestChoice:
    @pytest.mark.parametrize(("vnni", "chosen"), [(False, "int8-x86"), (True, "int8-onednn")])
    def test_table(self, monkeypatch: pytest.MonkeyPatch, vnni: bool, chosen: str) -> None:
        from bertie.layers import kernels
        from bertie.layers.chip import Chip

        monkeypatch.setattr(kernels, "chip", lambda: Chip(vnni=vnni))
        monkeypatch.setattr(operators, "int8_works", lambda engine: True)
        monkeypatch.setattr(library, "best", lambda: None)  # as without a compiler
        choose.cache_clear()
        assert choose(Weights("cpu", torch.int8)).name == chosen
        assert choose(Weights("cpu", torch.int8, deterministic=True)).name == "int8-x86"
        assert choose(Weights("cuda", torch.int8)).name == "plain"
        choose.cache_clear()

    @pytest.mark.skipif(not any(each.has_vnni for each in library.instruction_sets()), reason="no AVX-512 VNNI here")
    def test_our_own_where_it_was_compiled(self) -> None:
        for deterministic in (False, True):
            assert choose(Weights("cpu", torch.int8, deterministic)).name == "int8-native"

    def test_engines_that_are_missing_or_wrong_are_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        operators.int8_works.cache_clear()
        monkeypatch.setattr(operators, "int8_linear", lambda x, packed, reduce_range: x @ torch.ones(32, 48))
        assert not operators.int8_works("x86")
        assert not operators.int8_works("none")
        operators.int8_works.cache_clear()
        _, made, x = layer_of()
        assert made(x).shape == (40, 48)


class TestTraining:
    def test_refused(self) -> None:
        _, made, x = layer_of()
        with pytest.raises(InputError, match="cannot be trained"):
            made.train()
        with pytest.raises(InputError, match="cannot be trained"):
            linear(x.requires_grad_(), made)
        assert made.eval() is made


def test_table_of_embeddings() -> None:
    plain = nn.Embedding(30, 16)
    made = round_table(plain)
    ids = torch.tensor([[0, 29], [3, 3]])
    assert F.cosine_similarity(made(ids), plain(ids), dim=-1).min() > 0.9999
    assert isinstance(made, Int8Embedding)
    assert made(torch.zeros(0, dtype=torch.long)).shape == (0, 16)
