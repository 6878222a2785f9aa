"""However weights are changed, the next output equals that of transformers' model."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import bertie
from bertie.kernels import library
from bertie.layers import linear as linear_file

SIZES = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 3, "initializer_range": 0.3,
}  # fmt: skip
IDS = torch.randint(1, 60, (3, 9), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(9) < torch.tensor([[9], [5], [7]])).long()


def layer(model: Any, index: int = 1) -> Any:
    return model.bert.encoder.layer[index]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) / 4


def steps(model: Any, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=IDS, attention_mask=MASK, labels=torch.tensor([0, 2, 1])).loss.backward()
        optimizer.step()


def assign(model: Any) -> None:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["bert.encoder.layer.1.output.dense.weight"] = drawn(32, 64)
    model.load_state_dict(state, assign=True)


def replace(model: Any) -> None:
    layer(model).intermediate.dense = nn.Linear(32, 64)
    with torch.no_grad():
        layer(model).intermediate.dense.weight.copy_(drawn(64, 32))
        layer(model).intermediate.dense.bias.zero_()


def weight_norm(model: Any) -> None:
    parametrizations.weight_norm(layer(model).output.dense)
    layer(model).output.dense.parametrizations.weight.original0.data *= 1.5


def parametrize_query(model: Any) -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    parametrize.register_parametrization(layer(model).attention.self.query, "weight", Doubled())


@torch.no_grad()
def copied(model: Any) -> None:
    layer(model).attention.self.value.weight.copy_(drawn(32, 32))
    model.bert.embeddings.word_embeddings.weight[7].copy_(drawn(32))


def zero_neurons(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    output = output.clone()
    output[..., 10:20] = 0
    return output


CHANGES: dict[str, Callable[[Any], object]] = {
    "data slice": lambda model: layer(model).intermediate.dense.weight.data[5].fill_(0.7),
    "data slice of the first block": lambda model: layer(model, 0).output.dense.weight.data[3:9].zero_(),
    "numpy view": lambda model: layer(model).output.dense.weight.detach().numpy().__setitem__(7, 0.5),
    "numpy view of a norm": lambda model: layer(model).output.LayerNorm.weight.detach().numpy().__setitem__(3, 2.0),
    "bias slice": lambda model: layer(model).intermediate.dense.bias.data[20:30].add_(5),
    "embedding row": lambda model: model.bert.embeddings.word_embeddings.weight.data[IDS[0, 1]].mul_(3),
    "pooler": lambda model: model.bert.pooler.dense.weight.data[:, 4].zero_(),
    "classifier": lambda model: model.classifier.weight.detach().numpy().__setitem__(0, 1.0),
    "copy_": copied,
    "SGD": lambda model: steps(model, torch.optim.SGD(model.parameters(), lr=0.1)),
    "fused AdamW": lambda model: steps(model, torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)),
    "load_state_dict(assign=True)": assign,
    "another parameter": lambda model: setattr(layer(model).output.dense, "bias", nn.Parameter(drawn(32))),
    "another storage": lambda model: setattr(layer(model).output.dense.weight, "data", drawn(32, 64)),
    "another module": replace,
    "pruning mask": lambda model: prune.l1_unstructured(layer(model).intermediate.dense, "weight", amount=0.5),
    "pruned for good": lambda model: prune.remove(
        prune.ln_structured(layer(model).output.dense, "weight", 0.5, n=2, dim=0), "weight"
    ),
    "weight norm": weight_norm,
    "parametrisation": parametrize_query,
    "forward hook": lambda model: layer(model).intermediate.dense.register_forward_hook(zero_neurons),
}


@pytest.fixture(params=["PyTorch's products", "packed products"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where packing weights for a product never or always pays."""
    packs = request.param == "packed products"
    if packs and library.why_no_kernels():
        pytest.skip(library.why_no_kernels())
    monkeypatch.setattr(linear_file, "packing_pays", lambda _x: packs)


@pytest.fixture
def models() -> tuple[Any, Any]:
    """Return transformers' model, and ours with equal weights."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES)
    reference = transformers.BertForSequenceClassification(config)
    ours = bertie.BertForSequenceClassification(bertie.BertConfig.from_dict(config.to_dict()))
    ours.load_state_dict(reference.state_dict())
    return reference, ours


def assert_equal(reference: Any, ours: Any) -> Tensor:
    """Compare padded and packed calls, with and without gradients, which use different kernels."""
    for context in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with context():
            expected = reference(input_ids=IDS, attention_mask=MASK).logits
            torch.testing.assert_close(ours(input_ids=IDS, attention_mask=MASK).logits, expected, atol=1e-5, rtol=1e-5)
    packed = bertie.Packed.from_lists([row[: int(mask.sum())].tolist() for row, mask in zip(IDS, MASK, strict=True)])
    with torch.no_grad():
        torch.testing.assert_close(ours(packed).logits, expected, atol=1e-5, rtol=1e-5)
    return expected


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.usefixtures("product")
def test_changed_weights_take_effect(models: tuple[Any, Any], change: str, training: bool) -> None:
    for model in models:
        model.train(training)
    before = assert_equal(*models)
    for model in models:
        CHANGES[change](model)
    after = assert_equal(*models)
    assert (after - before).abs().max() > 1e-3, "the change should be seen"


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.usefixtures("product")
def test_lora_merged_and_unmerged(models: tuple[Any, Any], training: bool) -> None:
    peft = pytest.importorskip("peft")
    targets = ["query", "intermediate.dense", "output.dense"]
    wrapped = []
    for model in models:
        torch.manual_seed(3)
        lora = peft.get_peft_model(
            model, peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, lora_dropout=0.0)
        )
        wrapped.append(lora.train(training))
    assert isinstance(layer(wrapped[1].base_model.model).intermediate.dense, peft.tuners.lora.Linear)
    assert isinstance(layer(wrapped[1].base_model.model).intermediate.dense.base_layer, bertie.layers.linear.Linear)
    with_adapters = assert_equal(*wrapped)
    for step in ("merge_adapter", "unmerge_adapter"):
        for model in wrapped:
            getattr(model.base_model, step)()
        torch.testing.assert_close(assert_equal(*wrapped), with_adapters, atol=1e-4, rtol=1e-4)
    merged = [model.merge_and_unload() for model in wrapped]
    torch.testing.assert_close(assert_equal(*merged), with_adapters, atol=1e-4, rtol=1e-4)
    assert type(layer(merged[1]).intermediate.dense) is bertie.layers.linear.Linear


def test_a_copy_has_its_own_weights(models: tuple[Any, Any]) -> None:
    reference, ours = (model.eval() for model in models)
    twins = copy.deepcopy(reference), copy.deepcopy(ours)
    for model in (reference, ours):
        CHANGES["data slice"](model)
    assert not torch.equal(assert_equal(reference, ours), assert_equal(*twins))
