"""Loss spikes are told from noise, undone from the last state, reported, and the same after a resume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from learning import TextLearner, weights
from torch import Tensor

from bertie.errors import BertieError, Stopped
from bertie.training import History, Settings, sparse_embeddings, train
from bertie.training.divergence import is_spike

SETTINGS: dict[str, Any] = {"steps": 40, "batch_size": 6, "learning_rate": 1e-3, "log_every": 1, "seed": 3}


def test_a_spike_is_far_above_the_losses_before() -> None:
    before = [2.0 + 0.01 * (step % 7) for step in range(50)]
    assert not is_spike(before, 2.4, 10)  # 0.17 in the logarithm; a spread of 0.02 is assumed at least
    assert is_spike(before, 2.6, 10)
    assert not is_spike(before, 0.1, 10)
    assert not is_spike(before[:19], 99.0, 10)
    noisy = [2.0, 3.0] * 25
    assert not is_spike(noisy, 9.0, 10)
    assert is_spike([*before, *[50.0] * 10], 2.6, 10)  # it is robust to outliers


class Spiking(TextLearner):
    """The loss of step 34 is a thousand times what it should be; the weights before each step are kept."""

    def __init__(self) -> None:
        super().__init__(dropout=True)
        self.before: list[dict[str, Tensor]] = []
        self.spikes, self.stop_at = {34}, -1

    def loss(self, examples: Sequence[int]) -> Tensor:
        self.before.append(weights(self))
        if len(self.before) == self.stop_at:
            raise Stopped("as if killed", 9)
        loss = super().loss(examples)
        return loss * 1000 if len(self.before) in self.spikes else loss


def run(learner: TextLearner, folder: Path | None, **settings: Any) -> History:
    resume = settings.pop("resume", False)
    return train(
        learner,
        Settings(**SETTINGS | {"spike_threshold": 6, "save_every": 10} | settings),
        folder=folder,
        resume=resume,
    )


@pytest.mark.parametrize("by_rows", [False, True])
def test_the_run_goes_back_to_its_last_state(tmp_path: Path, by_rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse_embeddings, "MIN_ROWS", 8 if by_rows else 4096)
    learner = Spiking()
    history = run(learner, tmp_path / "whole")
    assert history.rewound == [[34, 30]]
    assert [sentence for sentence in history.warnings if "again those after step 30" in sentence] == history.warnings
    assert "In step 34 the loss rose to" in history.warnings[0]
    assert "train.csv, lines" in history.warnings[0]
    # before the step after the spike, the weights are those before step 31
    assert all(torch.equal(each, learner.before[30][name]) for name, each in learner.before[34].items())
    assert len([record for record in history.records if "loss" in record]) == 40

    half = Spiking()
    half.stop_at = 38
    with pytest.raises(Stopped):
        run(half, tmp_path / "half")
    last = Spiking()
    last.spikes = {4}  # step 34, after the state of step 30
    assert run(last, tmp_path / "half", resume=True).rewound == [[34, 30]]
    assert all(torch.equal(each, weights(learner)[name]) for name, each in weights(last).items())


def test_without_a_state_it_continues_and_after_many_spikes_it_ends() -> None:
    learner = Spiking()
    history = run(learner, None)
    assert "there is no saved state to go back to" in history.warnings[0]
    assert history.rewound == [[34, 34]]
    learner = Spiking()
    learner.spikes = set(range(25, 40))
    with pytest.raises(BertieError, match="That was spike 11: lower the learning rate"):
        run(learner, None)
