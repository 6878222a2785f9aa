"""The flat loop over prepared weights: the numbers of the blocks, and never where a block would do more."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import bertie
from bertie import BertConfig, BertModel, Packed
from bertie.kernels import library
from bertie.layers import kernels, operators
from bertie.layers.chip import Chip
from bertie.layers.flat import _FLAT, flat
from bertie.layers.kernels import choose

SIZES = {"vocab_size": 60, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
PACKED = Packed.from_lists([[2, 7, 9, 3], [2, 8, 3], [2, 11, 12, 3]])

pytestmark = pytest.mark.skipif(
    not operators.packing_works(torch.float32), reason="this PyTorch has no packed float32 products"
)


# on which oneDNN packs the weights, and on which our own kernels compute all blocks in one call
CHIPS = {"onednn": Chip("test", amd=True, avx512=True), "native": Chip("test", avx2=True)}


@pytest.fixture(autouse=True, params=["onednn"] if library.why_none() else list(CHIPS))
def packing_chip(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(kernels, "chip", lambda: CHIPS[request.param])
    choose.cache_clear()
    yield
    choose.cache_clear()


def make(kind: type[Any] = BertModel, **fields: Any) -> Any:
    torch.manual_seed(0)
    return kind(BertConfig(**{**SIZES, **fields})).eval()


def is_flat(model: Any, packed: Packed = PACKED) -> bool:
    with torch.no_grad():
        return flat(model.encoder.layer, model.embeddings(packed), packed) is not None


@pytest.mark.parametrize("act", ["gelu", "relu", "gelu_new"])
def test_the_blocks_numbers(act: str) -> None:
    model = make(hidden_act=act)
    expected = model(PACKED)
    assert is_flat(model)
    with torch.no_grad():
        found = model(PACKED)
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_first_tokens_alone() -> None:
    model = make(bertie.BertForSequenceClassification, num_labels=3)
    expected = model(PACKED).logits
    with torch.no_grad():
        torch.testing.assert_close(model(PACKED).logits, expected, rtol=1e-5, atol=1e-5)


def test_other_batches_take_the_same_loop() -> None:
    model = make()
    with torch.no_grad():
        first = flat(model.encoder.layer, model.embeddings(PACKED), PACKED)
        other = Packed.from_lists([[2, 7, 3]])
        assert flat(model.encoder.layer, model.embeddings(other), other) is first


def test_a_classifier_keeps_its_loop() -> None:
    model = make(bertie.BertForSequenceClassification)
    with torch.no_grad():
        model(PACKED)
        first = _FLAT[model.bert.encoder.layer]
        model(PACKED)
    assert _FLAT[model.bert.encoder.layer] is first


def test_nothing_is_prepared_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    hook(model)
    monkeypatch.setattr("bertie.layers.flat._block", lambda *_: pytest.fail("a loop was made that may not be used"))
    with torch.no_grad():
        model(PACKED)


def test_hooks_in_a_new_dictionary_are_seen() -> None:
    model = make()
    assert is_flat(model)
    model.encoder.layer[0]._forward_hooks = OrderedDict()
    assert is_flat(model)
    model.encoder.layer[0].register_forward_hook(lambda *_: None)
    assert not is_flat(model)


def test_modes_and_transforms_see_operators() -> None:
    model = make()
    ids = torch.tensor([[2, 7, 9, 3], [2, 8, 3, 3]])
    with torch.no_grad():
        assert is_flat(model)
        with FlopCounterMode(display=False) as counted:
            model(ids)
        assert counted.get_total_flops() > 2 * 8 * 3 * (4 * 48 * 48 + 2 * 48 * 96)


def test_parts_that_do_not_fit_say_so() -> None:
    model = make(bertie.BertForSequenceClassification)
    with torch.no_grad():
        model(PACKED)
        model.classifier = nn.Linear(30, 2)
        with pytest.raises(RuntimeError, match="shapes"):
            model(PACKED)
        model.bert.encoder.layer[2].output.dense = nn.Linear(100, 48)
        with pytest.raises(RuntimeError, match="shapes"):
            model.bert(PACKED)


def hook(model: Any) -> None:
    model.encoder.layer[1].output.LayerNorm.register_forward_hook(lambda *_: None)


def adapter(model: Any) -> None:
    class Doubled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    model.encoder.layer[2].attention.self.value = Doubled(48, 48).eval()


def one_dropout(model: Any) -> None:
    model.encoder.layer[0].output.dropout.train()


def own_forward(model: Any) -> None:
    block = model.encoder.layer[0]
    block.forward = lambda *inputs: type(block).forward(block, *inputs)


def another_block(model: Any) -> None:
    model.encoder.layer.append(nn.Identity())


@pytest.mark.parametrize("change", [hook, adapter, one_dropout, own_forward, another_block, BertModel.train])
@pytest.mark.parametrize("used_before", [False, True])
def test_what_would_be_missed(change: Callable[[Any], Any], used_before: bool) -> None:
    model = make()
    assert not used_before or is_flat(model)
    change(model)
    assert not is_flat(model)


def test_what_a_call_asks_for() -> None:
    model = make()
    with torch.no_grad():
        hidden = model.embeddings(PACKED)
        with torch.autocast("cpu", torch.bfloat16):
            assert flat(model.encoder.layer, hidden, PACKED) is None
        assert flat(model.encoder.layer, hidden[:0], PACKED) is None
        asked = model(PACKED, output_hidden_states=True, output_attentions=True)
        assert len(asked.hidden_states) == 4
        assert len(asked.attentions) == 3
    assert flat(model.encoder.layer, hidden, PACKED) is None  # gradients


@pytest.mark.parametrize(
    "fields",
    [
        {"is_decoder": True},
        {"is_decoder": True, "add_cross_attention": True},
        {"position_embedding_type": "relative_key"},
        {"num_hidden_layers": 0},
    ],
)
def test_other_architectures(fields: dict[str, Any]) -> None:
    assert not is_flat(make(**fields))


@pytest.mark.parametrize("how", ["in place", "data", "another parameter"])
def test_changed_weights_are_seen(how: str) -> None:
    model = make()
    assert is_flat(model)
    layer = model.encoder.layer[1].intermediate.dense
    with torch.no_grad():
        before = model(PACKED).last_hidden_state
        if how == "in place":
            layer.weight.mul_(2)
        elif how == "data":
            layer.weight.data *= 2
        else:
            layer.weight = nn.Parameter(layer.weight * 2)
        after = model(PACKED).last_hidden_state
        expected = copy.deepcopy(model)(PACKED).last_hidden_state
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)


def test_deterministic_from_then_on() -> None:
    model = make()
    assert is_flat(model)
    bertie.make_deterministic(model)
    assert is_flat(model)
    with torch.no_grad():
        together = model(PACKED).last_hidden_state
        alone = model(Packed.from_lists([[2, 7, 9, 3]])).last_hidden_state
    assert torch.equal(together[:4], alone)


def test_without_a_prepared_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "chip", Chip)
    choose.cache_clear()
    assert not is_flat(make())
