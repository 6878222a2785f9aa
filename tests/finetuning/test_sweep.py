"""Sweeps: trials on dev, the best scored once on test, and resuming."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from films import BAD, GOOD, WORDS, write_start

import bertie
from bertie.errors import BertieError, InputError, InputTypeError
from bertie.finetuning import run
from bertie.finetuning.plan import Plan
from bertie.finetuning.searching import _difference, default_space, default_values, with_values
from bertie.finetuning.task_learner import TaskLearner
from bertie.training import Event, History

SPACE = {"learning_rate": (1e-6, 1e-2, "log"), "epochs": [1, 2], "batch_size": (4, 8)}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT in hub layout."""
    return write_start(tmp_path_factory.mktemp("start"), hidden_size=16, intermediate_size=16)


def rows(count: int = 60) -> list[dict[str, str]]:
    found = []
    for number in range(count):
        kind = ("pos", GOOD) if number % 2 else ("neg", BAD)
        found.append({"text": f"{kind[1][number % 3]} film {WORDS[11 + number % 5]} {number}", "label": kind[0]})
    return found


def swept(start: Path, **more: Any) -> Any:
    options = {"model": start, "trials": 3, "space": SPACE, "show_progress": False}
    return bertie.sweep("sequence-classification", rows(), **{**options, **more})


def test_the_best_is_kept_and_scored_once(start: Path, tmp_path: Path, monkeypatch: Any) -> None:
    calls = []
    score = run.score
    monkeypatch.setattr(run, "score", lambda *given, **more: calls.append(given) or score(*given, **more))
    result = swept(start, out=tmp_path / "run", trials=4)
    assert len(calls) == 1
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3]
    best = max(result.trials, key=lambda trial: (trial.score or 0, -trial.number))
    assert result.values == best.values
    assert set(result.values) == set(SPACE)
    assert result.best.history.best_score == best.score
    assert set(result.best.metrics) >= {"accuracy"}
    for trial in result.trials:
        assert 1e-6 <= trial.values["learning_rate"] <= 1e-2
        assert trial.values["batch_size"] in range(4, 9)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"model.safetensors", "report.md", "results.json", "trials.jsonl", "sweep.png", "sweep.log"}
    lines = [json.loads(line) for line in (tmp_path / "run" / "trials.jsonl").read_text().splitlines()]
    assert [line["score"] for line in lines] == [trial.score for trial in result.trials]
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"the settings of trial {best.number}, the best of 4" in report
    assert "sweep.png" in report
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["settings"]["learning_rate"] == best.values["learning_rate"]
    kept = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    assert all(row.keys() == {"text", "label", "prediction", "where"} for row in kept)
    again = bertie.pipeline("text-classification", tmp_path / "run")
    assert again("good film") == result.best.pipeline("good film")


def test_an_interrupted_sweep_is_resumed_to_the_same_result(start: Path, tmp_path: Path, monkeypatch: Any) -> None:
    whole = swept(start, out=tmp_path / "whole")
    calls = []
    loss = TaskLearner.loss

    def interrupted(self: Any, examples: Any) -> Any:
        calls.append(examples)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return loss(self, examples)

    monkeypatch.setattr(TaskLearner, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        swept(start, out=tmp_path / "half")
    with pytest.raises(InputError, match="holds a sweep; resume=True continues it"):
        swept(start, out=tmp_path / "half")
    with pytest.raises(InputError, match="started with another space"):
        swept(start, out=tmp_path / "half", resume=True, space={"epochs": [1, 2]})
    with pytest.raises(InputError, match="started with another metric; give another out"):
        swept(start, out=tmp_path / "half", resume=True, metric="accuracy")
    again = swept(start, out=tmp_path / "half", resume=True)
    assert [trial.values for trial in again.trials] == [trial.values for trial in whole.trials]
    assert [trial.score for trial in again.trials] == [trial.score for trial in whole.trials]
    assert again.best.metrics == whole.best.metrics
    for name, value in whole.best.model.state_dict().items():
        assert torch.equal(value, again.best.model.state_dict()[name]), name
    with pytest.raises(InputError, match="holds a finished run"):
        swept(start, out=tmp_path / "half", resume=True)


def test_a_sweep_of_another_version_is_refused() -> None:
    begun = {"model": "a", "space": {}, "plan": {"dev": 0.1, "settings": {"epochs": 2}}, "data": ""}
    assert _difference(begun, begun) == ""
    older = begun | {"plan": {"tune": 0.1, "settings": {"epochs": 2, "warm": 0.1}}}
    sentence = "by a version of bertie that had 'tune', 'warm', which this one cannot resume"
    assert _difference(older, begun) == sentence
    assert _difference(begun | {"plan": {"kind": "regression"}}, begun) == "with another dev, kind, settings"


def test_hopeless_trials_are_pruned(start: Path, monkeypatch: Any) -> None:
    from bertie.finetuning import searching as module

    learn = module.learn

    def watched(job: Any) -> Any:
        for epoch in (1.0, 1.5, 2.0):
            # within an epoch the score says nothing
            record = {"score": job.plan.settings.learning_rate if epoch.is_integer() else -1.0, "epoch": epoch}
            for callback in job.plan.callbacks:
                callback(Event("evaluation", record, torch.nn.Identity(), History()))
        return learn(replace(job, plan=replace(job.plan, callbacks=())))

    monkeypatch.setattr(module, "learn", watched)
    monkeypatch.setattr(module, "UNPRUNED", 1)
    result = swept(start, trials=6, space={"learning_rate": (1e-7, 1e-2, "log")}, settings=bertie.Settings(epochs=1))
    pruned = [trial for trial in result.trials if trial.state == "pruned"]
    assert 1 <= len(pruned) <= 4
    # watched scores are the rates themselves
    assert all(trial.score == trial.values["learning_rate"] < 1e-2 for trial in pruned)
    complete = max(trial.values["learning_rate"] for trial in result.trials if trial.state == "complete")
    assert all(trial.values["learning_rate"] < complete for trial in pruned)


def test_a_diverging_trial_fails_alone(start: Path, monkeypatch: Any) -> None:
    from bertie.finetuning import searching as module

    learn, calls = module.learn, []

    def diverging(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 1:
            raise BertieError("The loss is NaN.")
        return learn(*given)

    monkeypatch.setattr(module, "learn", diverging)
    result = swept(start, trials=2)
    assert [trial.state for trial in result.trials] == ["failed", "complete"]
    assert result.trials[0].why == "The loss is NaN."
    calls.clear()
    with pytest.raises(BertieError, match="None of 1 trials gave a score; the first: The loss is NaN"):
        swept(start, trials=1)


def test_the_first_trial_has_the_default_settings(tmp_path: Path) -> None:
    wide = bertie.BertConfig(hidden_size=768)
    wide.save_pretrained(tmp_path)
    plan = Plan(task="sequence-classification", train=[], model=tmp_path)
    space = default_space(plan, 1000)
    assert set(space) == {"learning_rate", "epochs", "batch_size", "warmup", "layer_decay"}
    usual = default_values(plan, space, 1000)
    assert usual == {"learning_rate": 3e-5, "epochs": 19, "batch_size": 32, "warmup": 0.1, "layer_decay": 1.0}
    assert default_values(replace(plan, lora=8), default_space(replace(plan, lora=8), 9), 9)["learning_rate"] == 5e-4
    assert default_values(replace(plan, model="nowhere"), space, 1000) == usual
    assert with_values(plan, {"focal": 1.0, "batch_tokens": 99}).options == {"focal": 1.0}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"trials": 0}, "trials is 0"),
        ({"space": {}}, "space is empty"),
        ({"space": {"rate": [1]}}, "cannot vary 'rate'"),
        ({"space": {"seed": [1, 2]}}, "cannot vary 'seed'"),
        ({"space": {"epochs": (3, 2)}}, "must be larger"),
        ({"space": {"epochs": 3}}, r"space\['epochs'\] is 3; give a list"),
        ({"space": {"epochs": [0, 1]}}, "epochs is 0"),
        ({"dev": 0}, "compares its trials on dev; leave some rows for dev"),
        ({"resume": True}, "resume needs out"),
    ],
)
def test_bad_arguments(start: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, InputTypeError), match=message):
        swept(start, **more)
