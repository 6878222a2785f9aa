"""Linear layers equal PyTorch's with the current weights, by whichever product."""

import copy
import pickle
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bertie import BertConfig, BertModel, InputError, explain_linear, make_deterministic
from bertie.kernels import library
from bertie.kernels.cpu import Chip
from bertie.layers import linear as linear_file
from bertie.layers import products
from bertie.layers.linear import MAX_UNPACKED_ROWS, Linear
from bertie.layers.products import MIN_PACKED_ROWS

needs_kernels = pytest.mark.skipif(bool(library.why_no_kernels()), reason=library.why_no_kernels())


def rows_of(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Return a list to which each product by a function of the layer's file adds its number of rows from now on."""
    rows: list[int] = []
    product = getattr(linear_file, name)

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows.append(x[..., 0].numel())
        return product(x, weight, bias)

    monkeypatch.setattr(linear_file, name, counted)
    return rows


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Make packing pay from 8 rows on, on any machine; return the rows of each product with packed weights."""
    rows = rows_of(monkeypatch, "_packed_product")
    monkeypatch.setattr(products, "mkl_is_slower", lambda: True)
    monkeypatch.setattr(products, "MIN_PACKED_ROWS", 8)
    return rows


@pytest.fixture
def module() -> Linear:
    torch.manual_seed(0)
    return Linear(32, 50)


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


CHANGES = pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.weight.data[5].fill_(1.5),
        lambda layer: layer.weight.detach().numpy().__setitem__(7, 2),
        lambda layer: layer.bias.data[20:30].add_(5),
        lambda layer: layer.load_state_dict({"weight": drawn(50, 32), "bias": drawn(50)}, assign=True),
        lambda layer: nn.utils.parametrizations.weight_norm(layer),
    ],
    ids=["slice", "numpy", "bias", "assigned", "parametrised"],
)


@needs_kernels
class TestPacked:
    @pytest.mark.parametrize("shape", [(9, 32), (2, 5, 32), (8, 32)])
    @pytest.mark.parametrize("bias", [True, False])
    def test_numbers(self, packing, shape, bias) -> None:
        module, x = Linear(32, 50, bias=bias), drawn(*shape)
        with torch.no_grad():
            assert close(module(x), F.linear(x, module.weight, module.bias))
        assert packing == [x[..., 0].numel()]

    def test_views(self, packing) -> None:
        """Inputs and weights need not be contiguous."""
        module, x = Linear(32, 50), drawn(32, 9).T
        module.weight = nn.Parameter(drawn(32, 50).T)
        with torch.no_grad():
            assert close(module(x), x @ module.weight.T + module.bias)
        assert packing == [9]

    def test_no_rows_and_fewer_rows_are_not_packed(self, packing, module) -> None:
        with torch.no_grad():
            for x in (drawn(7, 32), drawn(0, 32), drawn(32)):
                assert close(module(x), F.linear(x, module.weight, module.bias))
        assert packing == []

    def test_cases_left_to_pytorch(self, packing, module) -> None:
        x = drawn(9, 32)
        module(x).sum().backward()
        assert module.weight.grad is not None
        module.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
        with FlopCounterMode(display=False) as counted:
            module(x)
        assert counted.get_total_flops() == 2 * 9 * 32 * 50
        assert torch.func.vmap(module)(x).shape == (9, 50)
        assert module.double()(x.double()).dtype == torch.float64
        assert packing == []
        module.float()(x)
        assert packing == [9]

    def test_inputs_of_another_width_are_refused(self, packing, module) -> None:
        with pytest.raises(RuntimeError, match="shapes"), torch.no_grad():
            module(drawn(9, 31))

    @CHANGES
    def test_changed_weights_take_effect(self, packing, module, change) -> None:
        x = drawn(9, 32)
        with torch.no_grad():
            module(x)
            change(module)
            assert close(module(x), x @ module.weight.T + module.bias)
        assert packing == [9, 9]

    @pytest.mark.parametrize(
        ("chip", "best", "has_tiles", "rows", "pays"),
        [
            (Chip(), "avx512", False, MIN_PACKED_ROWS, False),
            (Chip(), "avx512vnni", True, MIN_PACKED_ROWS, True),
            (Chip(), "avx512vnni", True, MIN_PACKED_ROWS - 1, False),
            (Chip(amd=True), "avx512", False, MIN_PACKED_ROWS, True),
            (Chip(amd=True), "avx512", False, MIN_PACKED_ROWS - 1, False),
            (Chip(amd=True), "avx2", False, MIN_PACKED_ROWS, False),
        ],
    )
    def test_when_packing_pays(self, monkeypatch, chip, best, has_tiles, rows, pays) -> None:
        monkeypatch.setattr(products, "chip", lambda: chip)
        functions = SimpleNamespace(name=best, pack_slices=print if has_tiles else None)
        monkeypatch.setattr(library, "best", lambda: functions)
        products.mkl_is_slower.cache_clear()
        assert products.packing_pays(torch.empty(rows, 3)) is pays
        assert ("packed" in explain_linear(Linear(3, 3))) is (has_tiles or (chip.amd and best == "avx512"))
        products.mkl_is_slower.cache_clear()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the rows of each product with unpacked weights."""
    return rows_of(monkeypatch, "_unpacked_product")


@needs_kernels
class TestFewRows:
    @pytest.mark.parametrize("depth", [1, 7, 16, 33, 96])
    @pytest.mark.parametrize("columns", [1, 2, 3, 4, 50])
    @pytest.mark.parametrize("bias", [True, False])
    def test_numbers(self, short, depth, columns, bias) -> None:
        module = Linear(depth, columns, bias=bias)
        for rows in (1, 2, 3, 4, 5, 6, 7, 9, 13, 17, MAX_UNPACKED_ROWS):
            x = drawn(rows, depth)
            with torch.no_grad():
                assert close(module(x), F.linear(x, module.weight, module.bias))
        assert len(short) == 11

    def test_views(self, short, module) -> None:
        with torch.no_grad():
            for x in (drawn(32, 9).T, drawn(2, 3, 32), drawn(32), drawn(9, 64)[:, ::2]):
                assert close(module(x), x @ module.weight.T + module.bias)
            module.bias = nn.Parameter(drawn(100)[::2])
            assert close(module(drawn(3, 32)), drawn(3, 32) @ module.weight.T + module.bias)
        assert short == [9, 6, 1, 9, 3]

    def test_cases_left_to_pytorch(self, short, module) -> None:
        x = drawn(9, 32)
        module(x).sum().backward()
        module.requires_grad_(False)
        assert module(x.requires_grad_()).requires_grad
        x = x.detach()
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
        with FlopCounterMode(display=False) as counted:
            module(x)
        assert counted.get_total_flops() == 2 * 9 * 32 * 50
        assert torch.func.vmap(module)(x).shape == (9, 50)
        assert torch.equal(torch.jit.trace(module, x, check_trace=False)(x), F.linear(x, module.weight, module.bias))
        negated = torch._neg_view(x)
        assert torch.equal(module(negated), F.linear(-x, module.weight, module.bias))
        turned = Linear(32, 50)
        turned.weight = nn.Parameter(drawn(32, 50).T, requires_grad=False)
        with torch.no_grad():
            assert torch.equal(turned(x), F.linear(x, turned.weight, turned.bias))
            assert module(drawn(MAX_UNPACKED_ROWS + 1, 32)).shape == (MAX_UNPACKED_ROWS + 1, 50)
        sparse = Linear(32, 50).requires_grad_(False)
        sparse.weight = nn.Parameter(drawn(50, 32).to_sparse_csr(), requires_grad=False)
        assert close(sparse(x), x @ sparse.weight.to_dense().T + sparse.bias)
        assert module.double()(x.double()).dtype == torch.float64
        assert short == []
        module.float()(x)
        assert short == [9]

    @CHANGES
    def test_changed_weights_take_effect(self, short, module, change) -> None:
        x = drawn(9, 32)
        with torch.no_grad():
            module(x)
            change(module)
            assert close(module(x), x @ module.weight.T + module.bias)
        assert short == [9, 9]

    @pytest.mark.parametrize("rows", [3, 9])
    def test_unusual_shapes_are_left_to_pytorch(self, packing, short, module, rows) -> None:
        """A bias that is broadcast over the columns, one that does not fit, and a single column of weights."""
        x = drawn(rows, 32)
        with torch.no_grad():
            module.bias = nn.Parameter(drawn(1))
            assert torch.equal(module(x), F.linear(x, module.weight, module.bias))
            module.bias = nn.Parameter(drawn(49))
            with pytest.raises(RuntimeError):
                module(x)
            module.weight, module.bias = nn.Parameter(drawn(32)), None
            assert torch.equal(module(x), F.linear(x, module.weight))
        assert packing == short == []

    def test_inputs_of_another_width_are_refused(self, module) -> None:
        with pytest.raises(RuntimeError, match="shapes"), torch.no_grad():
            module(drawn(9, 31))


def test_copies_and_state(module) -> None:
    x = drawn(9, 32)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301
        assert type(twin) is Linear
        assert torch.equal(twin(x), module(x))
    assert list(module.state_dict()) == ["weight", "bias"]
    assert isinstance(module, nn.Linear)


class TestDeterministic:
    @needs_kernels
    def test_rows_do_not_depend_on_their_neighbours(self) -> None:
        torch.manual_seed(0)
        config = BertConfig(hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=384)
        model = BertModel(config).eval()
        make_deterministic(model)
        model = copy.deepcopy(model)
        ids = torch.randint(5, 1000, (40, 23))
        with torch.inference_mode():
            together = model(ids)
            for part in (slice(0, 1), slice(3, 20)):
                alone = model(ids[part])
                assert torch.equal(alone.last_hidden_state, together.last_hidden_state[part])
                assert torch.equal(alone.pooler_output, together.pooler_output[part])
        assert "deterministic" in explain_linear(model)

    @pytest.mark.parametrize(
        ("layer", "why"),
        [
            (Linear(4, 4).double(), "the layer has weights of torch.float64"),
            (nn.Sequential(nn.Linear(4, 4)), "0 is a torch.nn.modules.linear.Linear"),
        ],
    )
    def test_refused_where_it_cannot_be(self, layer, why) -> None:
        with pytest.raises(InputError, match=f"deterministic=True cannot be kept: {why}"):
            make_deterministic(layer)

    def test_refused_without_kernels(self, without_kernels, module) -> None:
        without_kernels()
        with pytest.raises(InputError, match="needs bertie's kernels, and its kernels are for x86-64"):
            make_deterministic(module)
