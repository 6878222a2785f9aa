"""TensorBoard's own reader finds the contents of metrics.jsonl, once, also after a resume."""

import sys
from pathlib import Path

import pytest
from learning import TextLearner

from bertie.errors import BertieError
from bertie.training import Settings, train
from bertie.training.logs import TensorBoard


def test_figures_by_step(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = Settings(batch_size=6, epochs=2, log_every=2)
    for _ in range(2):  # the second time all of it is written again, from the history
        learner, log = TextLearner(), TensorBoard(tmp_path / "log")
        history = train(learner, settings, evaluate=learner.accuracy, folder=tmp_path / "state", resume=True, log=log)
        log.close()
        found = accumulator.EventAccumulator(str(tmp_path / "log"))
        found.Reload()
        assert set(found.Tags()["scalars"]) == {
            *("train/loss", "train/learning_rate", "train/grad_norm", "train/tokens_per_second", "train/tokens"),
            *("dev/accuracy", "dev/minus_loss"),
        }
        for tag, name in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
            lines = [(record["step"], record[name]) for record in history.records if name in record]
            assert [(one.step, one.value) for one in found.Scalars(tag)] == [
                (step, pytest.approx(value, rel=1e-6)) for step, value in lines
            ]
        tuned = [record["metrics"]["accuracy"] for record in history.records if "metrics" in record]
        assert [one.value for one in found.Scalars("dev/accuracy")] == pytest.approx(tuned)
    assert "tensorflow" not in sys.modules


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(BertieError, match="A log for TensorBoard needs tensorboard"):
        TensorBoard(tmp_path)
