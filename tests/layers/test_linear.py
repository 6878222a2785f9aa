"""Linear layers at run time: views give the module's numbers, and give way to whatever else happens to a module."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie import BertConfig, BertForMaskedLM, BertModel, InputError
from bertie.kernels import library
from bertie.layers import kernels, operators
from bertie.layers import linear as views
from bertie.layers.chip import Chip, read_chip
from bertie.layers.kernels import OneDNN, Plain, Weights, choose, explain
from bertie.layers.linear import linear, linear_activated, linear_added, linears, make_deterministic

pytestmark = pytest.mark.skipif(
    not operators.packing_works(torch.float32), reason="this PyTorch has no packed float32 products"
)


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every machine for a Zen 5, on which oneDNN's packed products are chosen."""
    monkeypatch.setattr(kernels, "chip", lambda: Chip("test", amd=True, avx512=True, vnni=True, bf16=True))
    choose.cache_clear()
    yield
    choose.cache_clear()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch):
    """Take every machine for one of which nothing is known, on which modules are called as they are."""
    monkeypatch.setattr(kernels, "chip", Chip)
    choose.cache_clear()
    yield
    choose.cache_clear()


@pytest.fixture
def module() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(32, 48).requires_grad_(False)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(7, 32, generator=torch.Generator().manual_seed(1))


def is_viewed(*modules: nn.Module) -> bool:
    view = views._known(modules[0], len(modules))
    return view is not None and view.stands_for(modules)


def close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("packed")
class TestNumbers:
    def test_one_module(self, module, x) -> None:
        assert close(linear(x, module), module(x))
        assert is_viewed(module)

    def test_several_modules_in_one_product(self, x) -> None:
        modules = [nn.Linear(32, width, bias=width != 5).requires_grad_(False) for width in (48, 5, 16)]
        for found, each in zip(linears(x, *modules), modules, strict=True):
            assert close(found, each(x))
        assert is_viewed(*modules)

    @pytest.mark.parametrize("activation", [F.gelu, F.relu])
    def test_activation(self, module, x, activation) -> None:
        assert close(linear_activated(x, module, activation), activation(module(x)))

    def test_residual(self, module, x) -> None:
        residual = torch.randn(7, 48)
        assert close(linear_added(x, module, nn.Dropout(0.1).eval(), residual), module(x) + residual)
        assert is_viewed(module)

    def test_any_shape_that_a_module_takes(self, module) -> None:
        x = torch.randn(2, 5, 32)
        assert close(linear(x, module), module(x))
        with pytest.raises(RuntimeError, match="shapes"):
            linear(torch.randn(2, 31), module)

    def test_no_rows(self, module) -> None:
        assert linear(torch.zeros(0, 32), module).shape == (0, 48)

    def test_whole_model(self) -> None:
        torch.manual_seed(0)
        config = BertConfig(hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96)
        model = BertForMaskedLM(config).eval()
        ids = torch.randint(5, 1000, (3, 9))
        with_gradients = model(ids).logits
        with torch.no_grad():
            assert close(model(ids).logits, with_gradients)
        query = model.bert.encoder.layer[0].attention.self.query
        assert query in views._VIEWS


class TestInPlace:
    """Without a gradient or a hook no one else has a product, and its memory is used again."""

    @pytest.mark.usefixtures("plain")
    def test_gelu_and_residual(self, module, x) -> None:
        residual, before = torch.randn(7, 48), x.clone()
        kept = residual.clone()
        with torch.no_grad():
            assert torch.equal(linear_activated(x, module, F.gelu), F.gelu(module(x)))
            assert torch.equal(linear_added(x, module, nn.Dropout(), residual.clone()), module(x) + residual) is False
            assert torch.equal(linear_added(x, module, nn.Dropout().eval(), residual), module(x) + residual)
        assert torch.equal(x, before)
        assert torch.equal(residual, kept)

    @pytest.mark.usefixtures("packed")
    def test_what_a_hook_saw_stays(self, module, x) -> None:
        seen: list[Tensor] = []
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
        with torch.no_grad():
            linear_activated(x, module, F.gelu)
            linear_added(x, module, nn.Dropout().eval(), torch.ones(7, 48))
        assert torch.equal(seen[0], F.linear(x, module.weight, module.bias))
        assert torch.equal(seen[1], seen[0])


@pytest.mark.usefixtures("packed")
class TestInvalidation:
    @pytest.mark.parametrize("change", ["in place", "data in place", "data", "parameter", "bias", "loaded"])
    def test_changed_weights(self, module, x, change) -> None:
        linear(x, module)
        if change == "in place":
            module.weight.mul_(2)
        elif change == "data in place":
            module.weight.data += 0.5
        elif change == "data":
            module.weight.data = module.weight * 2
        elif change == "parameter":
            module.weight = nn.Parameter(module.weight * 2, requires_grad=False)
        elif change == "bias":
            module.bias.add_(1)
        else:
            module.load_state_dict(nn.Linear(32, 48).state_dict())
        assert not is_viewed(module)
        assert close(linear(x, module), module(x))
        assert is_viewed(module)

    def test_another_neighbour(self, module, x) -> None:
        first, second = (nn.Linear(32, 16).requires_grad_(False) for _ in range(2))
        linears(x, module, first)
        assert close(linears(x, module, second)[1], second(x))

    def test_gone_with_its_module(self, x) -> None:
        before = len(views._VIEWS)
        linear(x, nn.Linear(32, 8).requires_grad_(False))
        assert len(views._VIEWS) == before

    def test_copies_and_pickles_have_none(self, module, x) -> None:
        linear(x, module)
        for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301
            assert twin not in views._VIEWS
            assert close(linear(x, twin), module(x))
        assert list(module.state_dict()) == ["weight", "bias"]


@pytest.mark.usefixtures("packed")
class TestGivingWay:
    def test_gradients(self, x) -> None:
        module = nn.Linear(32, 8)
        linear(x, module).sum().backward()
        assert module.weight.grad is not None
        with torch.no_grad():
            linear(x, module)
        assert is_viewed(module)

    def test_gradient_of_the_input(self, module, x) -> None:
        x.requires_grad_()
        linear(x, module).sum().backward()
        assert x.grad is not None

    @pytest.mark.parametrize("kind", ["forward hook", "pre hook", "own forward", "parametrised"])
    def test_hooks(self, module, x, kind) -> None:
        linear(x, module)
        if kind == "forward hook":
            module.register_forward_hook(lambda *_: torch.ones(1))
        elif kind == "pre hook":
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 0,))
        elif kind == "own forward":
            module.forward = lambda x: x.sum()
        else:
            nn.utils.parametrizations.weight_norm(module)
        assert torch.equal(linear(x, module), module(x))

    def test_dropout_in_training(self, module, x) -> None:
        dropped = linear_added(x, module, nn.Dropout(0.99), torch.zeros(7, 48))
        assert (dropped == 0).float().mean() > 0.8

    def test_autocast(self, module, x) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, module).dtype == torch.bfloat16


class TestDeterministic:
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

    def test_refused_where_no_kernel_can(self) -> None:
        with pytest.raises(InputError, match="deterministic=True cannot be kept"):
            make_deterministic(nn.Linear(4, 4).double())


class TestChoice:
    @pytest.mark.parametrize(
        ("chip", "weights", "chosen"),
        [
            (Chip(), Weights("cpu", torch.float32), "plain"),
            (Chip(), Weights("cpu", torch.float32, deterministic=True), "onednn"),
            (Chip(amd=True, avx512=True), Weights("cpu", torch.float32), "onednn"),
            (Chip(avx512=True), Weights("cpu", torch.float32, threads=2), "plain"),
            (Chip(amd=True), Weights("cpu", torch.float32), "plain"),
            (Chip(amd=True), Weights("cpu", torch.float32, threads=2), "onednn"),
            (Chip(amd=True, avx512=True), Weights("cuda", torch.float32), "plain"),
            (Chip(amd=True, avx512=True), Weights("cpu", torch.float64), "plain"),
        ],
    )
    def test_table(self, monkeypatch, chip, weights, chosen) -> None:
        monkeypatch.setattr(kernels, "chip", lambda: chip)
        monkeypatch.setattr(library, "best", lambda: None)  # as without a compiler
        choose.cache_clear()
        assert choose(weights).name == chosen
        assert f"{chosen:<11}  chosen" in explain(weights)
        choose.cache_clear()

    @pytest.mark.skipif(bool(library.why_none()), reason=library.why_none())
    @pytest.mark.parametrize(
        ("chip", "weights", "chosen"),
        [
            (Chip(), Weights("cpu", torch.float32, threads=2), "plain"),
            (Chip(), Weights("cpu", torch.float32, deterministic=True), "native"),
            (Chip(avx2=True), Weights("cpu", torch.float32), "native"),
            (Chip(amd=True, avx2=True, avx512=True), Weights("cpu", torch.float32, threads=2), "native"),
            (Chip(avx2=True), Weights("cpu", torch.float64), "plain"),
            (Chip(avx2=True), Weights("cuda", torch.float32), "plain"),
        ],
    )
    def test_table_with_compiled_kernels(self, monkeypatch, chip, weights, chosen) -> None:
        monkeypatch.setattr(kernels, "chip", lambda: chip)
        choose.cache_clear()
        assert choose(weights).name == chosen
        choose.cache_clear()

    def test_operators_that_are_missing_or_wrong_are_not_used(self, monkeypatch) -> None:
        monkeypatch.setattr(operators, "packed_linear", lambda x, packed, bias, gelu=False: x)
        operators.packing_works.cache_clear()
        assert OneDNN().why_not(Weights("cpu", torch.float32, deterministic=True))
        assert not Plain().why_not(Weights("cpu", torch.float32))
        operators.packing_works.cache_clear()

    def test_chips_are_read(self) -> None:
        text = "processor : 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags : fma avx2 avx512f avx512_vnni\n"
        assert read_chip(text) == Chip("EPYC", amd=True, avx2=True, avx512=True, vnni=True)
        assert str(read_chip(text)) == "EPYC (avx512, vnni)"
        assert not read_chip("Processor: ARMv8\n").amd
