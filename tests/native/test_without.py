"""Without a C compiler at installation, PyTorch's operators give the same answers."""

import copy

import pytest
import torch

from bertie import BertConfig, BertModel
from bertie.attention.attend import _remembered
from bertie.layers.kernels import choose
from bertie.native import library


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """Take the machine for one on which nothing was compiled; models that are copied now have no views yet."""

    def forget() -> None:
        choose.cache_clear()
        _remembered.cache_clear()

    def begin() -> None:
        monkeypatch.setattr(library, "instruction_sets", lambda: ())
        forget()

    yield begin
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_the_same_answers(without, hidden_act) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=44, num_attention_heads=2, num_hidden_layers=2, intermediate_size=70, hidden_act=hidden_act
    )
    model = BertModel(config).eval().requires_grad_(False)
    ids, mask = torch.randint(5, 1000, (3, 20)), torch.ones(3, 20)
    mask[1, 7:] = 0
    found = model(ids, attention_mask=mask)
    without()
    expected = copy.deepcopy(model)(ids, attention_mask=mask)
    for name in ("last_hidden_state", "pooler_output"):
        assert torch.allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
