"""AdamW, its groups, clipping and the learning rate, against torch.optim.AdamW and numbers worked out by hand."""

import copy
import math

import pytest
import torch
from learning import TextLearner, weights
from torch import nn

from bertie import BertModel
from bertie.errors import InputError
from bertie.training import sparse_embeddings
from bertie.training.optimizer import AdamW
from bertie.training.param_groups import Group, frozen, groups, trainable


def gradients(model: nn.Module, seed: int, unused: str = "") -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        gradient = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.grad = None if name == unused else gradient


@pytest.mark.parametrize("max_norm", [None, 1e-2, 1e9])
def test_steps_are_those_of_torch(max_norm: float | None) -> None:
    model = TextLearner().model.float()
    reference = copy.deepcopy(model)
    ours = AdamW(trainable(model), groups(model, 0.1, 1.0))
    decaying = [each for each in reference.parameters() if each.dim() > 1]
    still = [each for each in reference.parameters() if each.dim() < 2]
    theirs = torch.optim.AdamW(
        [{"params": decaying, "weight_decay": 0.1}, {"params": still, "weight_decay": 0}], lr=1e-2
    )
    for step in range(5):
        unused = "bert.pooler.dense.weight" if step < 2 else ""
        gradients(model, step, unused)
        gradients(reference, step, unused)
        norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), math.inf if max_norm is None else max_norm)
        theirs.step()
        found = ours.step(1e-2, max_norm, torch.tensor(0.0))
        torch.testing.assert_close(found, norm)
    for (name, one), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-7, msg=name)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_nothing(bad: float) -> None:
    learner = TextLearner()
    model, before = learner.model, weights(learner)
    optimizer = AdamW(trainable(model), groups(model, 0.1, 1.0))
    gradients(model, 0)
    optimizer.step(1e-2, 1.0, torch.tensor(bad))
    model.classifier.bias.grad[0] = bad
    optimizer.step(1e-2, 1.0, torch.tensor(0.0))
    assert all(torch.equal(each, before[name]) for name, each in model.named_parameters())
    assert not any(tensor.any() for tensor in optimizer.tensors().values())


@pytest.mark.parametrize("steps", [3, 40])
def test_embedding_rows_are_updated_as_the_whole_table_is(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(sparse_embeddings, "MIN_ROWS", 8)
    table = nn.Embedding(40, 5, padding_idx=0)
    reference = copy.deepcopy(table)
    model, other = nn.Sequential(table), nn.Sequential(reference)
    found = sparse_embeddings.tables(model)
    assert list(found) == ["0.weight"]
    optimizer = AdamW(dict(model.named_parameters()), [Group(("0.weight",), 1.0, 0.1)], tuple(found))
    theirs = torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1)
    with sparse_embeddings.sparse_gradients(found):
        for step in range(steps):
            torch.manual_seed(step)
            ids, weight = torch.randint(0, 40, (6,)), torch.randn(6, 5)
            for each, net in ((optimizer, model), (theirs, other)):
                for parameter in net.parameters():
                    parameter.grad = None
                for part in (slice(0, 2), slice(2, 6)):  # two micro-batches
                    (net(ids[part]) * weight[part]).sum().backward()
                if each is theirs:
                    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                    theirs.step()
                else:
                    assert table.weight.grad.is_sparse
                    optimizer.step(1e-2, 1.0, torch.tensor(0.0))
            if step == 1:  # as after a resume
                saved = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
                optimizer = AdamW(dict(model.named_parameters()), [Group(("0.weight",), 1.0, 0.1)], tuple(found))
                optimizer.load(saved)
    assert not table.sparse
    torch.testing.assert_close(table.weight, reference.weight, rtol=0, atol=2e-7)


def test_a_tied_table_has_dense_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_embeddings, "MIN_ROWS", 8)
    model = nn.ModuleDict({"words": nn.Embedding(40, 5), "decoder": nn.Linear(5, 40, bias=False)})
    assert list(sparse_embeddings.tables(model)) == ["words.weight"]
    model["decoder"].weight = model["words"].weight
    assert not sparse_embeddings.tables(model)


def test_groups_of_layers_and_decay() -> None:
    model = TextLearner().model
    rates = {name: (group.rate, group.decay) for group in groups(model, 0.1, 0.5) for name in group.names}
    assert set(rates) == set(trainable(model))
    assert rates["classifier.weight"] == (1.0, 0.1)
    assert rates["bert.pooler.dense.bias"] == (1.0, 0.0)
    assert rates["bert.encoder.layer.1.output.LayerNorm.weight"] == (0.5, 0.0)
    assert rates["bert.encoder.layer.0.attention.self.query.weight"] == (0.25, 0.1)
    assert rates["bert.embeddings.word_embeddings.weight"] == (0.125, 0.1)
    assert len(groups(model, 0.1, 1.0)) == 2


@pytest.mark.parametrize(
    ("layers", "still"),
    [(None, ()), (0, ("embeddings",)), (1, ("embeddings", "layer.0")), (2, ("embeddings", "layer.0", "layer.1"))],
)
def test_freezing(layers: int | None, still: tuple[str, ...]) -> None:
    model = TextLearner().model
    model.classifier.bias.requires_grad_(False)
    with frozen(model, layers):
        for name, parameter in model.named_parameters():
            learns = not any(part in name for part in still) and name != "classifier.bias"
            assert parameter.requires_grad == learns, name
    assert [name for name, each in model.named_parameters() if not each.requires_grad] == ["classifier.bias"]


def test_more_frozen_layers_than_there_are_half_precision_and_nothing_to_learn_are_refused() -> None:
    model = TextLearner().model
    with pytest.raises(InputError, match="freeze is 3, but the model has 2 layers"), frozen(model, 3):
        pass
    with pytest.raises(InputError, match=r"bfloat16, in which small updates vanish; call model.float\(\)"):
        trainable(copy.deepcopy(model).bfloat16())
    with pytest.raises(InputError, match="No parameter of the model is trainable"):
        trainable(model.requires_grad_(False))
    with pytest.raises(InputError, match=r"An int8 model cannot be trained; .* bertie\.dequantize makes of this one"):
        trainable(BertModel.from_pretrained("bertie-mini-uncased"))
