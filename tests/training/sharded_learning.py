"""Several processes with shards, in one launch: stop, resume, resume from one process, resume without shards.

torchrun … sharded_learning.py FOLDER, in which a run of one process was stopped in ``one``; writes the models there.
"""

import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from learning import SETTINGS, TextLearner, weights
from safetensors.torch import save_file
from torch import Tensor

from bertie.layers.block import BertLayer
from bertie.models.hooks import observers
from bertie.training import Event, Settings, Stopped, train

STEPS, STOP_AT = 12, 9


class ShardedLearner(TextLearner):
    """Checks that the model is unobserved in training, and in its original form wherever it is shown."""

    sharded = True

    def loss(self, examples: Sequence[int]) -> Tensor:
        assert not list(observers(self.model))
        whole = {name: each.shape for name, each in self.model.bert.encoder.layer[0].named_parameters()}
        assert any(hasattr(each, "to_local") for each in self.model.bert.encoder.layer[0].parameters()) == self.sharded
        loss = super().loss(examples)
        assert whole == {name: each.shape for name, each in self.model.bert.encoder.layer[0].named_parameters()}
        return loss

    def accuracy(self) -> dict[str, float]:
        self.check_model()
        return super().accuracy()

    def check_model(self, _: Event | None = None) -> None:
        assert type(self.model).__name__ == "BertForSequenceClassification"
        assert all(type(layer) is BertLayer for layer in self.model.bert.encoder.layer)
        assert not any(hasattr(each, "to_local") or not each.numel() for each in self.model.state_dict().values())
        assert self.model.bert.encoder.layer[0]._forward_pre_hooks == {}


class PoisonedLearner(TextLearner):
    """One example has a loss of NaN."""

    def loss(self, examples: Sequence[int]) -> Tensor:
        loss = super().loss(examples)
        return loss * float("nan") if 7 in examples else loss


def main() -> None:
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo")

    def run(name: str, learner: TextLearner, **changed: Any) -> None:
        settings = Settings(**SETTINGS, steps=STEPS, save_every=4, **{"shard": True, **changed})
        given = {"evaluate": learner.accuracy, "metric": "minus_loss", "folder": folder / name, "resume": True}
        callbacks = [learner.check_model] if isinstance(learner, ShardedLearner) else []
        before = dict(learner.model.named_parameters())
        train(learner, settings, callbacks=callbacks, **given)
        assert all(each is before[key] for key, each in learner.model.named_parameters())
        if dist.get_rank() == dist.get_world_size() - 1:  # every process has the whole model
            save_file(weights(learner), folder / f"{name}.safetensors")

    learner = ShardedLearner(19)
    if dist.get_rank() == 1:
        learner.stop_at, learner.stop_with = STOP_AT, signal.SIGTERM
    try:
        run("shards", learner)
    except Stopped:
        dist.barrier()
    else:
        raise AssertionError("was not stopped")
    if dist.get_rank() == 0:
        for copy in ("copied", "replicas"):
            shutil.copytree(folder / "shards", folder / copy)
    dist.barrier()
    run("shards", ShardedLearner(19))
    run("one", ShardedLearner(19))
    run("checkpointed", ShardedLearner(19), gradient_checkpointing=True)
    run("replicas", TextLearner(19), shard=False)
    poisoned = PoisonedLearner(19)
    history = train(
        poisoned, Settings(**SETTINGS, steps=STEPS, shard=True, skip_bad_steps=STEPS), folder=folder / "bad"
    )
    assert len(history.skipped) == len(history.warnings) == 3
    assert all("causes it by itself: train.csv, lines 9. The step" in each for each in history.warnings)
    assert all(each.isfinite().all() for each in weights(poisoned).values())


if __name__ == "__main__":
    main()
