"""A block's fused parts: their gradients equal transformers', in bf16 within bf16's own error."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
import transformers

import bertie
from bertie.kernels import library
from bertie.layers import fused, products

pytestmark = pytest.mark.skipif(bool(library.why_no_kernels()), reason=library.why_no_kernels())
SMALL = {
    "vocab_size": 211,
    "hidden_size": 60,  # no multiple of any width of vectors
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 84,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def bf16() -> AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16)


def pair(**config: Any) -> tuple[bertie.BertForPreTraining, transformers.BertForPreTraining]:
    torch.manual_seed(0)
    reference = transformers.BertForPreTraining(transformers.BertConfig(**{**SMALL, **config})).train()
    with torch.no_grad():
        for parameter in reference.parameters():  # biases of 0 and weights of 1 would hide mistakes
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    ours = bertie.BertForPreTraining(bertie.BertConfig(**{**SMALL, **config})).train()
    ours.load_state_dict(reference.state_dict(), strict=False)
    return ours, reference


def batch(texts: int = 3, length: int = 9) -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 211, (texts, length), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.arange(length) % 3 > 0, -100)
    return {"input_ids": ids, "labels": labels, "next_sentence_label": torch.arange(texts) % 2}


def learn(model: Any, batches: list[dict[str, torch.Tensor]], context: Any = nullcontext) -> dict[str, torch.Tensor]:
    """The loss of the last batch, and all gradients."""
    model.zero_grad()
    for each in batches:
        with context():
            loss = model(**each).loss
        loss.backward()
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    return {"loss": loss.detach(), **found}


def check_equal(ours: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == expected.keys()
    for name, wanted in expected.items():
        torch.testing.assert_close(
            ours[name], wanted, rtol=0, atol=2e-5 * max(1.0, wanted.abs().max().item()), msg=name
        )


def error(found: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]) -> float:
    distance = sum((found[name].double() - exact[name]).square().sum() for name in exact)
    return float((distance / sum(each.square().sum() for each in exact.values())).sqrt())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the fused parts as they are computed."""
    names: list[str] = []
    for kind in (fused._Projections, fused._DenseGelu, fused._DenseResidualNorm):
        apply = kind.apply
        monkeypatch.setattr(
            kind, "apply", lambda *given, kind=kind, apply=apply: names.append(kind.__name__) or apply(*given)
        )
    return names


@pytest.fixture(params=["PyTorch's products", "bertie's"])
def multiplied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine where bertie's kernels are never faster, or always; the shapes that they multiply."""
    shapes: list[str] = []
    matmul = products.matmul
    monkeypatch.setattr(products, "matmul", lambda *a, **b: shapes.append(str(a[0].shape)) or matmul(*a, **b))
    monkeypatch.setattr(products, "mkl_is_slower", lambda: request.param == "bertie's")
    monkeypatch.setattr(products, "MIN_PACKED_ROWS", 1)
    return shapes


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2},
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"hidden_size": 3, "intermediate_size": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(3, 9), (1, 1), (2, 70)], ids=str)
def test_gradients_equal_the_references(
    config: dict[str, Any], shape: tuple[int, int], counted: list[str], multiplied: list[str]
) -> None:
    ours, reference = pair(**config)
    batches = [batch(*shape), batch(1, shape[1])]  # two micro-batches
    check_equal(learn(ours, batches), learn(reference, batches))
    assert counted.count("_Projections") == 6  # of two blocks and a vocabulary, twice
    assert counted.count("_DenseResidualNorm") == 8
    assert counted.count("_DenseGelu") == (0 if config.get("hidden_act") else 4)
    assert len(multiplied) in (0, 3 * len(counted))  # forward and both gradients


def test_frozen_parameters_have_no_gradient(counted: list[str], multiplied: list[str]) -> None:
    ours, reference = pair()
    for model in (ours, reference):
        model.bert.embeddings.requires_grad_(False)
        model.bert.encoder.layer[0].requires_grad_(False)
        model.bert.encoder.layer[1].attention.self.key.requires_grad_(False)
        model.bert.encoder.layer[1].attention.self.value.bias.requires_grad_(False)
        model.bert.encoder.layer[1].output.LayerNorm.weight.requires_grad_(False)
        model.bert.encoder.layer[1].intermediate.dense.weight.requires_grad_(False)
    check_equal(learn(ours, [batch()]), learn(reference, [batch()]))
    assert counted
    assert len(multiplied) < 3 * len(counted)


def test_gradients_of_inputs() -> None:
    ours, reference = pair()
    vectors = torch.randn(2, 5, 60)
    found = []
    for model in (ours.eval(), reference.eval()):
        given = vectors.clone().requires_grad_()
        model(inputs_embeds=given).prediction_logits.square().sum().backward()
        found.append(given.grad)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "config", [{}, {"hidden_size": 96, "num_attention_heads": 3, "intermediate_size": 256}], ids=str
)
def test_bf16_is_no_worse_than_autocast(config: dict[str, Any], counted: list[str]) -> None:
    ours, reference = pair(**config)
    batches = [batch(16, 20)]
    found, autocast = learn(ours, batches, bf16), learn(reference, batches, bf16)
    exact = learn(reference.double(), batches)
    assert len(counted) == 9
    assert error(found, exact) < 1.2 * error(autocast, exact)
    assert all(each.dtype == torch.float32 for each in found.values())


def test_bf16_attention_error() -> None:
    """Queries, keys and values are bfloat16, computation is float32: only the inputs are rounded."""
    from bertie.attention.native import attention_autograd

    torch.manual_seed(0)
    instruction_set = library.best()
    assert instruction_set is not None
    starts = torch.tensor([0, 5, 5, 22], dtype=torch.int32)
    q, k, v = (each.to(torch.bfloat16).requires_grad_() for each in torch.randn(3, 22, 2, 20))
    wide = [each.detach().float().requires_grad_() for each in (q, k, v)]
    direction = torch.randn(22, 2, 20).to(torch.bfloat16)
    for p in (0.0, 0.3):
        torch.manual_seed(7)
        y = attention_autograd(q, k, v, starts, starts, instruction_set, p)
        torch.manual_seed(7)
        expected = attention_autograd(*wide, starts, starts, instruction_set, p)
        torch.testing.assert_close(y, expected.to(torch.bfloat16), rtol=0, atol=0)
        found = torch.autograd.grad(y, (q, k, v), direction)
        wanted = torch.autograd.grad(expected, wide, direction.float())
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one.float(), other, rtol=0.02, atol=0.02)


class TestDropout:
    def test_a_share_is_dropped_and_its_gradient_with_it(self) -> None:
        torch.manual_seed(0)
        dense, norm = fused.Linear(8, 300), torch.nn.LayerNorm(300)
        x, residual = torch.randn(400, 8, requires_grad=True), torch.zeros(400, 300)
        with torch.no_grad():
            dense.weight.zero_()
            dense.bias.fill_(1)
        y = fused.dense_residual_norm(x, residual, dense, 0.25, norm)
        kept = y > y.mean(1, keepdim=True)  # 4/3 where it is kept, 0 where it is dropped
        assert abs(kept.float().mean() - 0.75) < 0.01
        assert (kept.float().mean(0) - 0.75).abs().max() < 0.15
        assert (kept.float().mean(1) - 0.75).abs().max() < 0.15
        direction = torch.randn(400, 300)
        y.backward(direction)
        values = (kept / 0.75).requires_grad_()
        norm(values).backward(direction)
        torch.testing.assert_close(dense.bias.grad, (values.grad * kept / 0.75).sum(0), rtol=1e-4, atol=1e-4)


class TestNotFused:
    @pytest.mark.parametrize(
        "name", ["attention.self.query", "intermediate.dense", "output.dropout", "output.LayerNorm"]
    )
    def test_hooks(self, name: str) -> None:
        ours, _ = pair()
        expected = learn(ours, [batch()])
        seen: list[torch.Tensor] = []
        module = ours.bert.encoder.layer[0].get_submodule(name)
        handle = module.register_forward_hook(lambda _, __, out: seen.append(out))
        check_equal(learn(ours, [batch()]), expected)
        assert len(seen) == 1
        handle.remove()

    def test_custom_layers_are_called(self, counted: list[str]) -> None:
        class Twice(torch.nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return 2 * super().forward(x)

        ours, _ = pair()
        plain = learn(ours, [batch()])
        before = counted.count("_DenseGelu")
        own = ours.bert.encoder.layer[0].intermediate
        twice = Twice(60, 84)
        twice.load_state_dict(own.dense.state_dict())
        own.dense = twice
        assert learn(ours, [batch()])["loss"] != plain["loss"]
        assert counted.count("_DenseGelu") == before + 1

    def test_float16_autocast_is_pytorchs(self, counted: list[str]) -> None:
        ours, _ = pair()
        learn(ours, [batch()], lambda: torch.autocast("cpu", torch.float16))
        assert not counted
