"""NaN and infinity stop a run with a message about where and what to do, and never reach the weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from learning import TextLearner, weights
from torch import Tensor

from bertie.errors import BertieError
from bertie.training import Settings, loop, train
from bertie.training.sampler import shuffled

SETTINGS = Settings(steps=8, batch_size=6, learning_rate=1e-2, seed=3)
BAD = int(shuffled(20, 3, 0)[8])  # an example of the second step


class Poisoned(TextLearner):
    """One example has a loss of NaN."""

    def loss(self, examples: Sequence[int]) -> Tensor:
        loss = super().loss(examples)
        return loss * float("nan") if BAD in examples else loss


class Exploding(TextLearner):
    """One example has a loss of 0 and an infinite gradient."""

    def loss(self, examples: Sequence[int]) -> Tensor:
        loss = super().loss(examples)
        if BAD in examples:
            loss = loss + (self.model.classifier.bias.sum() * 0).sqrt()
        return loss


def test_a_loss_that_is_nan_names_step_rate_and_example(tmp_path: Path) -> None:
    learner, other = Poisoned(), TextLearner()
    with pytest.raises(BertieError) as error:
        train(learner, SETTINGS, folder=tmp_path)
    message = str(error.value)
    assert message.startswith("In step 2 (epoch 0.25, learning rate 0.01) the loss is nan; ")
    assert f"the example that causes it by itself: train.csv, lines {BAD + 2}. " in message
    assert f"the weights before it are kept in {str(tmp_path)!r}. Check these" in message
    with pytest.raises(BertieError):
        train(Poisoned(), SETTINGS)
    # the weights of the step before are kept
    train(other, Settings(steps=1, batch_size=6, learning_rate=1e-2, seed=3, warmup=0, schedule="constant"))
    assert all(torch.equal(each, weights(other)[name]) for name, each in weights(learner).items())


def test_infinite_gradients_name_the_step() -> None:
    learner = Exploding()
    with pytest.raises(BertieError, match=r"In step 2 .* the norm of the gradients is (inf|nan); its examples: train"):
        train(learner, SETTINGS)
    assert all(each.isfinite().all() for each in weights(learner).values())


def test_an_asynchronous_device_is_checked_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the bad step is found some steps later, but named correctly, and it never reached the weights."""
    begin = loop._Run.begin

    def on_gpu(run: Any, *given: Any) -> None:
        run.is_asynchronous = True
        begin(run, *given)

    monkeypatch.setattr(loop._Run, "begin", on_gpu)
    learner = Poisoned()
    with pytest.raises(BertieError, match=r"In step 2 \(epoch 0.25, .* the loss is nan; the example"):
        train(learner, Settings(**SETTINGS.to_dict() | {"log_every": 4}))
    assert all(each.isfinite().all() for each in weights(learner).values())
    late, prompt = TextLearner(), TextLearner()
    history = train(late, Settings(**SETTINGS.to_dict() | {"log_every": 3}))
    monkeypatch.undo()
    expected = train(prompt, Settings(**SETTINGS.to_dict() | {"log_every": 3}))
    assert [record["loss"] for record in history.records] == [record["loss"] for record in expected.records]


def test_bad_steps_may_be_skipped(caplog: pytest.LogCaptureFixture) -> None:
    learner = Poisoned()
    settings = Settings(steps=8, batch_size=6, learning_rate=1e-2, seed=3, skip_bad_steps=2)
    history = train(learner, settings)
    assert len(history.skipped) == 2
    assert history.skipped[0] == 2
    assert history.warnings == caplog.messages
    assert all(each.isfinite().all() for each in weights(learner).values())
    assert sum(record["loss"] is None for record in history.records) == 2
