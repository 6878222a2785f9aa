"""The last block is computed only where its output is used, and completely if the model has observers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import bertie
from bertie import BertConfig, BertForSequenceClassification, Packed

LISTS = [[101, 7, 8, 102], [101, 9, 102], [101, 7, 7, 9, 8, 102], [101, 5, 102]]


@pytest.fixture
def model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that collects the number of rows each feed-forward network computes, without a hook."""
    seen: list[int] = []
    forward = bertie.layers.block.BertIntermediate.forward

    def counted(module: torch.nn.Module, hidden_states: Tensor) -> Tensor:
        seen.append(hidden_states[..., 0].numel())
        return forward(module, hidden_states)

    monkeypatch.setattr(bertie.layers.block.BertIntermediate, "forward", counted)
    return seen


def whole(model: BertForSequenceClassification, packed: Packed) -> Tensor:
    hidden = model.bert(packed).last_hidden_state
    return model.classifier(model.bert.pooler(hidden, packed))


def test_the_last_block_computes_first_tokens_alone(model, rows) -> None:
    packed = Packed.from_lists(LISTS)
    with torch.no_grad():
        logits = model(packed).logits
        assert rows == [16, 16, 4]
        assert torch.allclose(logits, whole(model, packed), atol=1e-6)


def test_gradients_equal_those_without_skipping(model) -> None:
    packed = Packed.from_lists(LISTS)
    model(packed).logits.sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    whole(model, packed).sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(found[name], parameter.grad, atol=1e-6), name


def test_with_checkpoints_in_training(model, rows) -> None:
    model.activation_checkpointing_enable()
    model.train()(Packed.from_lists(LISTS)).logits.sum().backward()
    assert rows == [16, 16, 4, 16, 16]
    assert model.bert.embeddings.word_embeddings.weight.grad.isfinite().all()


LOOKING_IN: dict[str, Callable[[BertForSequenceClassification], object]] = {
    "hook in the last block": lambda model: model.bert.encoder.layer[-1].output.dense.register_forward_hook(print_none),
    "hook on the last block": lambda model: model.bert.encoder.layer[-1].register_forward_hook(print_none),
    "hook on the encoder": lambda model: model.bert.encoder.register_forward_hook(print_none),
    "hook on the model": lambda model: model.bert.register_forward_hook(print_none),
    "hidden states": lambda model: setattr(model.config, "output_hidden_states", True),
    "attentions": lambda model: setattr(model.config, "output_attentions", True),
}


def print_none(*_: object) -> None:
    return None


@pytest.mark.parametrize("how", LOOKING_IN)
def test_observers_see_every_token(model, rows, how) -> None:
    """And the padding, if it is a hook on a part."""
    LOOKING_IN[how](model)
    packed = Packed.from_lists(LISTS)
    with torch.no_grad():
        model(packed)
    assert rows == ([24] * 3 if how.startswith("hook") and how != "hook on the model" else [16] * 3)


def test_an_empty_text_and_a_3d_mask(model, rows) -> None:
    ids = torch.tensor([[101, 7, 102], [101, 8, 102]])
    with torch.no_grad():
        model(ids, torch.tensor([[1, 1, 1], [0, 0, 0]]))
        model(ids, torch.ones(2, 1, 3, 3, dtype=torch.bool))
    assert rows == [3] * 3 + [6] * 3


def test_vectors_of_first_tokens(model, rows) -> None:
    packed = Packed.from_lists(LISTS)
    with torch.no_grad():
        first = model.bert.first_tokens(packed)
        assert rows == [16, 16, 4]
        assert torch.allclose(first, packed.first(model.bert(packed).last_hidden_state), atol=1e-6)
