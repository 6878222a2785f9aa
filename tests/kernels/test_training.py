"""The attention and dropout kernels in training: reproducible by seed, and with checkpointing."""

import pytest
import torch

import bertie
from bertie.attention.dispatch import choose
from bertie.attention.request import Request
from bertie.kernels import library

pytestmark = pytest.mark.skipif(bool(library.why_no_kernels()), reason=library.why_no_kernels())
LABELS = torch.tensor([0, 1, 1])


@pytest.fixture
def model() -> bertie.BertForSequenceClassification:
    torch.manual_seed(0)
    config = bertie.BertConfig(
        vocab_size=99, hidden_size=40, num_hidden_layers=3, num_attention_heads=2, intermediate_size=56
    )
    assert choose(Request("cpu", torch.float32, 20, dropout_p=0.1)).name == "native"
    return bertie.BertForSequenceClassification(config).train()


def gradients(model: bertie.BertForSequenceClassification, seed: int) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    model.zero_grad()
    packed = bertie.Packed.from_lists([[1, 2, 3, 4], [5, 6], [7] * 9])
    model(packed, labels=LABELS).loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def test_a_seed_decides_what_is_dropped(model: bertie.BertForSequenceClassification) -> None:
    first, again, other = (gradients(model, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_uses_the_same_mask(model: bertie.BertForSequenceClassification, reentrant: bool) -> None:
    expected = gradients(model, 1)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.enable_input_require_grads()
    torch.testing.assert_close(gradients(model, 1), expected, rtol=1e-4, atol=1e-7)


def test_each_step_draws_another_mask(model: bertie.BertForSequenceClassification) -> None:
    """Two steps after one seed use different masks: each call draws a new seed from the generator."""
    torch.manual_seed(1)
    packed = bertie.Packed.from_lists([[1, 2, 3, 4], [5, 6], [7] * 9])
    first, second = (model(packed, labels=LABELS).loss.item() for _ in range(2))
    assert first != second
