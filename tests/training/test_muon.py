"""PyTorch's Muon for the matrices of the blocks and AdamW for the rest, also after a resume."""

import copy
import math

import pytest
import torch
from learning import TextLearner, weights

from bertie.training import Settings, train
from bertie.training.muon import Muon
from bertie.training.param_groups import groups, trainable


def gradients(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("max_norm", [None, 1e-2])
def test_steps_are_those_of_torch(max_norm: float | None) -> None:
    model = TextLearner().model.float()
    reference = copy.deepcopy(model)
    ours = Muon(trainable(model), groups(model, 0.1, 1.0))
    blocks = [each for name, each in reference.named_parameters() if "encoder.layer" in name and each.dim() == 2]
    assert len(blocks) == 12
    rest = [each for each in reference.parameters() if not any(each is block for block in blocks)]
    muon = torch.optim.Muon(blocks, lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [
            {"params": [each for each in rest if each.dim() > 1], "weight_decay": 0.1},
            {"params": [each for each in rest if each.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1e-2,
    )
    for step in range(4):
        gradients(model, step)
        gradients(reference, step)
        norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), math.inf if max_norm is None else max_norm)
        muon.step()
        adamw.step()
        torch.testing.assert_close(ours.step(1e-2, max_norm, torch.tensor(0.0)), norm)
        if step == 1:  # as after a resume
            saved = {name: tensor.clone() for name, tensor in ours.tensors().items()}
            query = "bert.encoder.layer.0.attention.self.query.weight"
            assert [name for name in saved if name.endswith(query)] == [f"momentum.{query}"]
            ours = Muon(trainable(model), groups(model, 0.1, 1.0))
            ours.load(saved)
    for (name, one), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5, msg=name)


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    learner = TextLearner()
    optimizer = Muon(trainable(learner.model.float()), groups(learner.model, 0.1, 1.0))
    before = weights(learner)
    gradients(learner.model, 0)
    optimizer.step(1e-2, 1.0, torch.tensor(math.nan))
    assert all(torch.equal(each, before[name]) for name, each in weights(learner).items())


def test_the_loss_falls_in_the_loop() -> None:
    learner = TextLearner()
    settings = Settings(steps=12, batch_size=6, learning_rate=1e-2, optimizer="muon", log_every=1)
    losses = [record["loss"] for record in train(learner, settings).records]
    assert losses[-1] < losses[0] - 0.05
