"""The loop, against a plain one written by hand, and its side effects."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from learning import TextLearner, weights
from torch import Tensor

from bertie import Packed
from bertie.errors import BertieError, InputError
from bertie.training import JsonLines, Settings, sparse_embeddings, train
from bertie.training.data_parallel import DataParallel
from bertie.training.sampler import shuffled
from bertie.training.schedule import rate_factor

FAST: dict[str, Any] = {"batch_size": 6, "learning_rate": 1e-2, "seed": 3}


def by_hand(learner: TextLearner, epochs: int, clip: float = 1.0) -> None:
    """Train with batches of 6, linear decay after 10 % warm-up, weight decay 0.01."""
    model, step = learner.model.train(), 0
    decaying = [each for each in model.parameters() if each.dim() > 1]
    still = [each for each in model.parameters() if each.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decaying, "weight_decay": 0.01}, {"params": still, "weight_decay": 0.0}])
    total = epochs * 4
    for epoch in range(epochs):
        order = shuffled(20, 3, epoch)
        for batch in (order[start : start + 6].tolist() for start in range(0, 20, 6)):
            logits = model(Packed.from_lists([learner.texts[each] for each in batch])).logits
            F.cross_entropy(logits, torch.tensor([learner.labels[each] for each in batch])).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * rate_factor(step, total, -(-total // 10), "linear")
            optimizer.step()
            optimizer.zero_grad()
            step += 1


def same(one: TextLearner, other: TextLearner, tolerance: float = 1e-8) -> None:
    for name, expected in weights(other).items():
        torch.testing.assert_close(weights(one)[name], expected, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("micro_tokens", [None, 30, 1])
@pytest.mark.parametrize("by_rows", [False, True])
def test_weights_are_those_of_a_loop_by_hand(
    micro_tokens: int | None, by_rows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_embeddings, "MIN_ROWS", 8 if by_rows else 4096)
    one, other = TextLearner(), TextLearner()
    history = train(one, Settings(**FAST, epochs=3, micro_tokens=micro_tokens))
    by_hand(other, 3)
    same(one, other)
    assert (history.step, history.total, history.best_step) == (12, 12, None)
    parts = {None: 12, 1: 60}.get(micro_tokens)
    assert parts is None or len(one.seen) == parts


def test_steps_by_tokens_learn_every_example_once_an_epoch() -> None:
    learner = TextLearner()
    history = train(learner, Settings(batch_tokens=40, epochs=2, learning_rate=1e-2))
    assert sorted(each for batch in learner.seen for each in batch) == sorted([*range(20)] * 2)
    assert all(sum(learner.sizes[each] for each in batch) <= 40 for batch in learner.seen)
    assert history.step == len(learner.seen)


def test_gradient_checkpointing_changes_nothing_but_memory() -> None:
    one, other = TextLearner(dropout=True), TextLearner(dropout=True)
    train(one, Settings(**FAST, steps=3, gradient_checkpointing=True))
    train(other, Settings(**FAST, steps=3))
    same(one, other)
    assert not one.model.is_gradient_checkpointing


def test_freezing_and_layer_decay() -> None:
    learner = TextLearner()
    before = weights(learner)
    train(learner, Settings(**FAST, steps=2, freeze=1, layer_decay=0.5, weight_decay=0.0))
    moved = {name: (each - before[name]).abs().max().item() for name, each in weights(learner).items()}
    assert not any(much for name, much in moved.items() if "embeddings" in name or "layer.0" in name)
    assert moved["classifier.weight"] > 1.5 * moved["bert.encoder.layer.1.output.dense.weight"] > 0


def test_the_best_weights_are_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    scores = [0.1, 0.5, float("nan"), 0.5, 0.4, 0.9, 1.0]
    for folder in (None, tmp_path):
        learner, seen = TextLearner(), []

        def evaluate(learner: TextLearner = learner, seen: list[dict[str, Tensor]] = seen) -> dict[str, float]:
            assert not learner.model.training
            seen.append(weights(learner))
            return {"loss": 1.0, "f1": scores[len(seen) - 1]}

        settings = Settings(**FAST, steps=14, evaluate_every=2, patience=3)
        history = train(learner, settings, evaluate=evaluate, metric="f1", folder=folder)
        assert (history.best_step, history.best_score, history.step) == (4, 0.5, 10)
        assert history.stopped_early
        assert history.best_metrics == {"loss": 1.0, "f1": 0.5}
        assert all(torch.equal(each, seen[1][name]) for name, each in weights(learner).items())
        figures = [record["metrics"]["f1"] for record in history.records if "metrics" in record]
        assert figures == [0.1, 0.5, None, 0.5, 0.4]


def test_evaluations_come_every_epoch_and_at_the_end() -> None:
    learner, at = TextLearner(), []
    history = train(
        learner, Settings(**FAST, steps=10), evaluate=lambda: at.append(1) or learner.accuracy(), metric="minus_loss"
    )
    assert [record["step"] for record in history.records if "metrics" in record] == [4, 8, 10]
    assert len(at) == 3


def test_a_missing_metric_is_refused() -> None:
    learner = TextLearner()
    with pytest.raises(InputError, match="gave no metric 'f1'; it gave: accuracy, minus_loss"):
        train(learner, Settings(**FAST, steps=1), evaluate=learner.accuracy, metric="f1")


def test_a_check_warns(caplog: pytest.LogCaptureFixture) -> None:
    learner = TextLearner()
    sentence = "every example is predicted as 'a'"
    history = train(learner, Settings(**FAST, steps=1), evaluate=learner.accuracy, check=lambda figures: sentence)
    assert history.warnings == [f"After step 1: {sentence}"] == caplog.messages


def test_log_lines(tmp_path: Path) -> None:
    learner = TextLearner()
    settings = Settings(**FAST, steps=6, log_every=2, warmup=0, schedule="constant")
    history = train(learner, settings, evaluate=learner.accuracy, log=JsonLines(tmp_path / "log.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == history.records
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [2, 4, 6]
    assert [line["epoch"] for line in steps] == [0.5, 1.0, 1.5]
    assert {line["learning_rate"] for line in steps} == {1e-2}
    assert all(line["grad_norm"] > 0 and line["tokens_per_second"] > 0 and line["loss"] > 0 for line in steps)
    assert lines[-1].keys() == {"step", "epoch", "metrics", "score", "is_best", "seconds"}


def test_nothing_else_is_changed() -> None:
    learner = TextLearner(dropout=True)
    learner.model.eval()
    learner.model.bert.pooler.train()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    train(learner, Settings(**FAST, steps=2, freeze="embeddings"))
    assert torch.equal(torch.get_rng_state(), state)
    assert (learner.model.training, learner.model.bert.pooler.training) == (False, True)
    assert all(each.requires_grad and each.grad is None for each in learner.model.parameters())


def test_dropout_depends_on_seed_and_step_alone() -> None:
    found = []
    for seed, global_seed in ((1, 1), (1, 2), (2, 1)):
        learner = TextLearner(dropout=True)
        torch.manual_seed(global_seed)
        train(learner, Settings(**FAST | {"seed": seed}, steps=3))
        found.append(weights(learner)["classifier.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


class TooLarge(TextLearner):
    """Runs out of memory with more than ``most`` tokens, after half of the backward pass."""

    most = 15

    def loss(self, examples: Sequence[int]) -> Tensor:
        loss = super().loss(examples)
        if sum(self.sizes[each] for each in examples) > self.most:
            loss.backward(retain_graph=True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss


def test_out_of_memory_halves_the_micro_batches_and_changes_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    one, other = TooLarge(), TextLearner()
    history = train(one, Settings(**FAST, epochs=3))
    by_hand(other, 3)
    same(one, other)
    assert 12 <= history.micro_tokens <= 15
    assert "Memory ran out" in caplog.messages[0]
    one.most = 3
    with pytest.raises(BertieError, match=r"A single example of 12 tokens does not fit .* \(train.csv, lines \d+\)"):
        train(one, Settings(**FAST, epochs=3))


def test_out_of_memory_ends_a_distributed_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataParallel, "exchanges", True)
    with pytest.raises(BertieError, match=r"cannot be computed again; give micro_tokens below \d+"):
        train(TooLarge(), Settings(**FAST, epochs=3))


def test_an_indivisible_step_is_computed_whole() -> None:
    learner = TextLearner()
    train(learner, Settings(**FAST, epochs=1, micro_tokens=1), divisible=False)
    assert [len(batch) for batch in learner.seen] == [6, 6, 6, 2]


def test_sharding_with_one_process_warns(caplog: pytest.LogCaptureFixture) -> None:
    train(TextLearner(), Settings(**FAST, steps=1, shard=True))
    assert "shard=True shards a model over the processes of torchrun; with one it has no effect." in caplog.text


def test_a_step_without_labels_is_not_an_error() -> None:
    class Unlabelled(TextLearner):
        def divisor(self, examples: Sequence[int]) -> float:
            return 0.0

        def loss(self, examples: Sequence[int]) -> Tensor:
            return super().loss(examples) * 0

    assert train(Unlabelled(), Settings(**FAST, steps=2)).records[-1]["loss"] == 0.0


def test_a_learner_may_count_with_numpy() -> None:
    def counting(count: Callable[[int], Any]) -> TextLearner:
        learner = TextLearner()
        learner.divisor = lambda examples: count(len(examples))  # type: ignore[method-assign]
        train(learner, Settings(epochs=1, batch_size=4))
        return learner

    expected, *others = (counting(kind).model.state_dict() for kind in (float, np.int64, np.float32, torch.tensor))
    for found in others:
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_loss_without_gradient_is_refused() -> None:
    class Detached(TextLearner):
        def loss(self, examples: Sequence[int]) -> Tensor:
            return super().loss(examples).detach()

    with pytest.raises(InputError, match="does not depend on any trainable parameter"):
        train(Detached(), Settings(**FAST, steps=2))


def test_progress_shows_loss_and_rate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    train(TextLearner(), Settings(**FAST, steps=3), show_progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "loss 1." in shown
    assert "tokens/s" in shown


def test_effective_settings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    train(TextLearner(), Settings(**FAST, steps=2))
    [said] = caplog.records
    assert said.levelno == logging.INFO
    assert said.message.startswith("training on cpu, 2 steps: steps 2, learning_rate 0.01, batch_size 6, ")
