"""Without compiled kernels, PyTorch's operators give the same results."""

import copy

import pytest
import torch

from bertie import BertConfig, BertModel


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_the_same_answers(without_kernels, hidden_act) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=44, num_attention_heads=2, num_hidden_layers=2, intermediate_size=70, hidden_act=hidden_act
    )
    model = BertModel(config).eval().requires_grad_(False)
    ids, mask = torch.randint(5, 1000, (3, 20)), torch.ones(3, 20)
    mask[1, 7:] = 0
    found = model(ids, attention_mask=mask)
    without_kernels()
    expected = copy.deepcopy(model)(ids, attention_mask=mask)
    for name in ("last_hidden_state", "pooler_output"):
        assert torch.allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_the_same_gradients(without_kernels) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=44,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=70,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )
    model = BertModel(config).train()
    ids, mask = torch.randint(5, 1000, (3, 20)), torch.ones(3, 20)
    mask[1, 7:] = 0
    model(ids, attention_mask=mask).last_hidden_state.square().sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    without_kernels()
    model(ids, attention_mask=mask).last_hidden_state.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-4)
