"""The comparison of fine-tuning with its peers: one experiment end to end in toy size, and what it is made of."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from bertie.metrics import RegressionMetric

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "quality"


@pytest.fixture
def quality(monkeypatch, shared):
    """The benchmark's modules, which lie outside of any package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield __import__
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def test_an_experiment_runs_and_leaves_its_figures(tmp_path, shared, minilm):
    sizes = ["--rows", "24", "--dev-rows", "24", "--epochs", "1", "--threads", "1"]
    command = [sys.executable, str(FOLDER / "run.py"), "sentiment", "--quick", *sizes, "--results", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "| **bertie**" in done.stdout
    found = json.loads((tmp_path / "sentiment.json").read_text())
    assert found["rows"] == {"train": 24, "tune": 0, "dev": 24}
    assert [line["line"] for line in found["lines"]] == ["bertie", "transformers Trainer"]
    assert all(0 <= line["seeds"][0]["accuracy"] <= 1 for line in found["lines"])
    assert {efforts[0]["steps"] for efforts in found["systems"].values()} == {1}
    assert found["systems"]["bertie"][0]["padding"] == 0 < found["systems"]["transformers Trainer"][0]["padding"]


def test_all_systems_start_with_the_same_weights(quality, tmp_path, minilm):
    starting, experiments = quality("starting"), quality("experiments")
    experiment = experiments.BY_NAME["sentiment"]
    rows = [{"text": "a", "label": label} for label in ("positive", "negative")]
    starting.make_start(experiment, rows, 3, tmp_path)
    import transformers

    import bertie

    kept = load_file(tmp_path / "model.safetensors")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    ours = bertie.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert ours.config.label2id == theirs.config.label2id == {"negative": 0, "positive": 1}
    for model in (ours, theirs):
        state = model.state_dict()
        assert all(state[name].equal(tensor) for name, tensor in kept.items())


def test_subsets_know_every_label(quality):
    rows, experiments = quality("rows"), quality("experiments")
    for name in ("emotions", "entities"):
        read, names = rows.emotions if name == "emotions" else rows.entities, experiments.BY_NAME[name].names
        everything = read("train")
        subset = rows.sampled(everything, 200, names)
        assert len(subset) == 200
        assert {label for row in subset for label in names(row)} == {
            label for row in everything for label in names(row)
        }


def test_made_questions_have_no_answer_in_their_context(quality):
    rows = quality("rows")
    known = {row["question"]: row for row in rows.questions("dev")}
    made = [row for row in rows.unanswerable("dev") if not row["answers"]["text"]]
    assert len(made) > len(known) / 3
    assert all(row["context"] != known[row["question"]]["context"] for row in made)


def test_pairs_to_summarise_are_paragraphs_and_one_of_their_sentences(quality):
    summarising = quality("summarising")
    text = "He was at sea. The sea was rough that night, and the ship was old. Nobody slept. The old ship went down."
    assert summarising.most_telling(text.split(". ")) == "The sea was rough that night, and the ship was old"
    assert list(summarising.pairs_of(f"Too short.\n\n{text}")) == [
        {"source": text, "target": "The sea was rough that night, and the ship was old."}
    ]
    train, test = summarising.pairs("train", 20), summarising.pairs("test", 20)
    assert len(train) == len(test) == 20
    assert all(row["target"] in row["source"] for row in train + test)


def verdict(quality, intervals):
    each = {
        "first": "a",
        "second": "b",
        "seeds": [{"difference": {"f1": 0.1}, "interval": {"f1": interval}} for interval in intervals],
    }
    return quality("tables").verdict(each, ["f1"])


def test_a_difference_is_won_only_if_every_seed_says_so(quality):
    assert verdict(quality, [(0.02, 0.1), (0.01, 0.2)]).endswith("[+0.010, +0.200], better.")
    assert verdict(quality, [(0.02, 0.1), (-0.01, 0.2)]).endswith("no winner.")
    assert verdict(quality, [(-0.2, -0.1), (-0.3, -0.2)]).endswith("worse.")


def test_two_models_are_compared_on_the_same_rows(quality):
    answers, gold = quality("scoring").Answers, [0.0, 1.0, 2.0, 3.0] * 20
    right, near, constant = (
        answers(RegressionMetric(), said, gold) for said in (gold, [1.0, 0, 3, 2] * 20, [1.0] * 80)
    )
    compared = right.better_than(near)
    low, high = compared["interval"]["spearman"]
    assert low <= compared["difference"]["spearman"] <= high
    assert compared["difference"]["mse"] == -1
    assert compared["interval"]["mse"] == (-1, -1)
    undefined = right.better_than(constant)
    assert undefined["difference"]["pearson"] is undefined["interval"]["pearson"] is None
