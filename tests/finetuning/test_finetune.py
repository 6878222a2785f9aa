"""Fine-tuning: metrics on rows that nothing was tuned on, a folder that transformers loads too, and resuming."""

import csv
import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import transformers
from films import BAD, FILLING, GOOD, write_start

import bertie
from bertie.data.example import Example
from bertie.errors import InputError
from bertie.finetuning import seeds_and_folds, tuning
from bertie.finetuning.model_setup import balance_classes
from bertie.metrics import ClassificationMetric, MultiLabelMetric, RerankingMetric, Scores
from bertie.run_files import LOG, STATE
from bertie.tasks.registry import ROWS


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    draw = torch.Generator().manual_seed(seed)

    def one(words: list[str]) -> str:
        return words[int(torch.randint(len(words), (), generator=draw))]

    found = []
    for number in range(count):
        kind = ("pos", GOOD) if number % 2 else ("neg", BAD)
        filling = " ".join(one(FILLING) for _ in range(number % 7))
        found.append({"text": f"{filling} {one(kind[1])} film {number % 10}", "label": kind[0]})
    return found


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), num_hidden_layers=2)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without dropout: it learns faster, and alike with any generator."""
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return write_start(tmp_path_factory.mktemp("steady"), num_hidden_layers=2, **none)


def finetuned(start: Path, train: Any, **more: Any) -> Any:
    options = {"model": start, "epochs": 6, "learning_rate": 3e-3, "batch_size": 8, "show_progress": False}
    return bertie.finetune("sequence-classification", train, **{**options, **more})


def test_from_a_csv_to_a_scored_model(start: Path, tmp_path: Path) -> None:
    train, dev = tmp_path / "train.csv", tmp_path / "dev.csv"
    for path, data in ((train, rows(160)), (dev, rows(60, seed=1))):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(data)
    result = finetuned(start, train, test=dev, out=tmp_path / "run")
    assert result.metrics["accuracy"] > 0.95
    low, high = result.intervals["accuracy"]
    assert low <= result.metrics["accuracy"] <= high
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.json", "model.safetensors", "vocab.txt", "report.md", "run.json", "results.json", LOG} <= names
    assert {"curves.png", "confusion.png", "reliability.png"} <= names
    assert STATE in names  # for more epochs
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["metrics"]["accuracy"] == result.metrics["accuracy"]
    assert saved["rows"] == 60
    report = (tmp_path / "run" / "report.md").read_text()
    assert "train.csv" in report
    assert f"{result.metrics['accuracy']:.3f}" in report

    again = bertie.evaluate("sequence-classification", dev, model=tmp_path / "run")
    assert again.metrics == result.metrics
    assert again.table == saved["table"]
    pipe = bertie.pipeline("text-classification", tmp_path / "run")
    assert pipe.codec.temperature == result.pipeline.codec.temperature != 1.0
    texts = [row["text"] for row in rows(6, seed=2)]
    for ours, theirs in zip(pipe(texts), result.pipeline(texts), strict=True):  # the engine's answers and PyTorch's
        assert ours == {"label": theirs["label"], "score": pytest.approx(theirs["score"], abs=1e-6)}
    reference = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "run")
    encoded = pipe.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(reference(**encoded).logits, result.model(**encoded).logits)
    assert reference.config.id2label == {0: "neg", 1: "pos"}


def test_one_file_is_split_in_three(start: Path) -> None:
    result = finetuned(start, rows(100), epochs=1)
    assert result.folder is None
    assert result.history.total == 11  # 81 rows to learn from: a tenth for scoring, a tenth of the rest for tuning
    assert set(result.metrics) >= {"accuracy", "f1_macro", "f1_micro", "precision", "recall", "f1"}


@pytest.mark.parametrize(("epochs", "best", "times"), [(1, 5, 1), (2, 5, 3)])
def test_dev_is_computed_again_if_the_weights_changed(
    start: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, best: int, times: int
) -> None:
    plain, calls = tuning.compute_rows, []
    monkeypatch.setattr(tuning, "compute_rows", lambda *given: calls.append(given) or plain(*given))
    result = finetuned(start, rows(40), test=0, dev=rows(8, 1), epochs=epochs, learning_rate=1e-9)  # no epoch is better
    assert (result.history.best_step, len(calls)) == (best, times)


def test_nothing_is_tuned(start: Path) -> None:
    result = finetuned(start, rows(40), test=rows(20, 1), dev=0, epochs=2)
    assert result.history.best_step is None
    assert result.pipeline.codec.temperature == 1.0


def test_nothing_is_scored(start: Path, tmp_path: Path) -> None:
    result = finetuned(start, rows(40), test=0, epochs=1, out=tmp_path / "run")
    assert (result.metrics, result.intervals) == ({}, {})
    assert result.history.total == 5  # 36 rows to learn from, 4 to choose by
    assert "it was not scored" in (tmp_path / "run" / "report.md").read_text()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rows"] == 0
    with pytest.raises(InputError, match="test is 1.5; allowed: a file, or a share"):
        finetuned(start, rows(40), test=1.5)


def test_several_labels_have_thresholds(start: Path, tmp_path: Path) -> None:
    data = [
        {"text": row["text"], "labels": f"{row['label']}|film" if "plot" in row["text"] else row["label"]}
        for row in rows(160)
    ]
    result = finetuned(start, data, out=tmp_path / "run", class_weights="auto", focal=1.0, epochs=8)
    assert result.pipeline.codec.thresholds is not None
    assert (tmp_path / "run" / "thresholds.png").exists()
    pipe = bertie.pipeline("text-classification", tmp_path / "run")
    assert pipe.codec.thresholds == result.pipeline.codec.thresholds
    found = pipe("the plot is good film 3", top_k="")
    assert {one["label"] for one in found} <= {"neg", "pos", "film"}
    assert all(one["score"] >= pipe.codec.thresholds[pipe.codec.config.label2id[one["label"]]] for one in found)


def test_numbers(start: Path) -> None:
    data = [{"text": row["text"], "score": 0.5 + (row["label"] == "pos")} for row in rows(160)]
    result = finetuned(start, data, columns={"label": "score"}, kind="regression", epochs=8)
    assert result.metrics["spearman"] > 0.7
    assert result.pipeline("a good film")[0]["label"] == "LABEL_0"


@pytest.mark.parametrize("lora", [None, 4])
def test_numbers_of_any_size_and_training_on_from_them(start: Path, tmp_path: Path, lora: int | None) -> None:
    if lora is not None:
        pytest.importorskip("peft")
    data = [{"text": row["text"], "label": 120_000.5 + 50_000 * (row["label"] == "pos")} for row in rows(160)]
    rate = 3e-3 if lora is None else 1e-2
    result = finetuned(
        start, data, test=data[:40], kind="regression", epochs=10, lora=lora, learning_rate=rate, out=tmp_path / "run"
    )
    assert result.metrics["mae"] < 15_000
    again = bertie.evaluate("sequence-classification", data[:40], model=tmp_path / "run")
    assert again.metrics["mae"] == pytest.approx(result.metrics["mae"], rel=1e-4)
    # the next training starts from its head
    on = finetuned(tmp_path / "run", data, test=data[:40], kind="regression", epochs=1, learning_rate=1e-9)
    assert on.metrics["mae"] == pytest.approx(result.metrics["mae"], rel=1e-3)


def test_constant_predictions_are_warned_of(start: Path) -> None:
    same = [{"text": "the plot is", "label": "pos" if number % 5 else "neg"} for number in range(60)]
    result = finetuned(start, same, test=same[:30], dev=0, epochs=2)
    assert any("All 30 texts got the same answer, pos" in warning for warning in result.warnings)
    tagged = [{"words": row["text"].split(), "tags": "B-X" if number == 0 else "O"} for number, row in enumerate(same)]
    tagged = [{"words": row["words"], "tags": [row["tags"], "O", "O"]} for row in tagged]
    result = bertie.finetune(
        "token-classification", tagged, test=tagged[:30], model=start, dev=0, epochs=2, learning_rate=1e-2
    )
    assert any("All 30 texts got the same answer, O" in warning for warning in result.warnings)


def test_long_texts_in_windows(steady: Path) -> None:
    filling = "a film the plot is " * 5
    data = [{"text": filling + row["text"], "label": row["label"]} for row in rows(240)]
    result = finetuned(steady, data, windows=True, overlap=4, epochs=20, learning_rate=2e-3)
    assert result.metrics["accuracy"] > 0.9
    assert not any("lost" in warning for warning in result.warnings)
    cut = finetuned(steady, data, epochs=1)
    assert any("lost" in warning and "windows=True" in warning for warning in cut.warnings)


def test_adapters_are_merged(start: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    result = finetuned(start, rows(160), test=rows(40, 1), lora=4, learning_rate=1e-2, out=tmp_path / "run")
    assert result.metrics["accuracy"] > 0.8
    assert type(result.model) is bertie.BertForSequenceClassification
    assert bertie.evaluate("sequence-classification", rows(40, 1), model=tmp_path / "run").metrics == result.metrics


def test_several_seeds(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"seed": [1, 2], "epochs": 2, "out": tmp_path / "run"}
    result = finetuned(start, rows(60), **options)
    figures = [json.loads((tmp_path / "run" / f"seed-{seed}" / "results.json").read_text()) for seed in (1, 2)]
    values = [each["metrics"]["accuracy"] for each in figures]
    mean, deviation = result.spread["accuracy"]
    assert mean == pytest.approx(sum(values) / 2)
    assert deviation == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert result.metrics["accuracy"] == values[result.seed - 1]
    top = tmp_path / "run"
    assert (top / "model.safetensors").read_bytes() == (top / f"seed-{result.seed}" / "model.safetensors").read_bytes()
    assert not list(top.glob("**/state"))
    parts = [json.loads((top / f"seed-{seed}" / "run.json").read_text())["settings"]["seed"] for seed in (1, 2)]
    assert parts == [1, 2]
    assert (top / "seeds.png").exists()

    # the test rows of runs are kept, and so are compared
    kept = [json.loads(line) for line in (top / "seed-1" / "predictions.jsonl").read_text().splitlines()]
    assert kept[0].keys() == {"text", "label", "prediction", "where"}
    assert fmean(row["label"] == row["prediction"] for row in kept) == values[0]
    compared = bertie.compare(top / "seed-1", top / "seed-2", show_progress=False)
    assert compared.difference["accuracy"] == pytest.approx(values[0] - values[1])
    same = bertie.compare(top / "seed-1", top / "seed-1", show_progress=False)
    assert same.intervals["accuracy"] == (0, 0)
    assert same.verdict("accuracy") == "no winner"
    # a model that has the same classes in another order, in a folder whose run calls the task by an older name
    turned = shutil.copytree(top / "seed-1", tmp_path / "turned")
    for name, old, new in (
        ("run.json", "text-classification", "sequence-classification"),
        ("config.json", '"0": "neg",\n    "1": "pos"', '"0": "pos",\n    "1": "neg"'),
    ):
        text = (turned / name).read_text()
        assert old in text
        (turned / name).write_text(text.replace(old, new))
    bertie.compare(top / "seed-1", turned, show_progress=False)
    assert "f1 refer to 'pos' in the first model and to 'neg' in the second" in caplog.messages[-1]
    (top / "seed-2" / "predictions.jsonl").write_text("")
    with pytest.raises(InputError, match="were scored on different rows; name rows .*: data='…'"):
        bertie.compare(top / "seed-1", top / "seed-2")

    again = tmp_path / "again"
    with monkeypatch.context() as patch:
        patch.setattr(seeds_and_folds, "scored", stopped_at_the_second(seeds_and_folds.scored))
        with pytest.raises(KeyboardInterrupt):
            finetuned(start, rows(60), **{**options, "out": again})
    resumed = finetuned(start, rows(60), **{**options, "out": again}, resume=True)
    assert (resumed.metrics, resumed.spread) == (result.metrics, result.spread)


def stopped_at_the_second(scored: Any) -> Any:
    calls: list[Any] = []

    def stopping(learned: Any) -> Any:
        calls.append(learned)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scored(learned)

    return stopping


def test_an_interrupted_run_is_resumed_to_the_same_model(start: Path, tmp_path: Path, monkeypatch: Any) -> None:
    whole = finetuned(start, rows(80), test=rows(20, 1), out=tmp_path / "whole", epochs=3)
    calls = []
    from bertie.finetuning.task_learner import TaskLearner

    loss = TaskLearner.loss

    def interrupted(self: Any, examples: Any) -> Any:
        calls.append(examples)
        if len(calls) == 14:
            raise KeyboardInterrupt
        return loss(self, examples)

    monkeypatch.setattr(TaskLearner, "loss", interrupted)
    settings = bertie.Settings(save_every=5)
    with pytest.raises(KeyboardInterrupt):
        finetuned(start, rows(80), test=rows(20, 1), out=tmp_path / "half", epochs=3, settings=settings)
    with pytest.raises(InputError, match="the rows to learn from differ"):
        finetuned(start, rows(80, 3), test=rows(20, 1), out=tmp_path / "half", epochs=3, settings=settings, resume=True)
    # a run of an older version, in which metrics were called figures and dev "the rows to tune on"
    [state] = (tmp_path / "half" / "state").glob("state-*/state.json")
    older = state.read_text().replace("metrics", "figures").replace("the rows of dev", "the rows to tune on")
    state.write_text(older)
    assert {"best_figures", "figures", "the rows to tune on"} <= set(older.split('"'))
    again = finetuned(
        start, rows(80), test=rows(20, 1), out=tmp_path / "half", epochs=3, settings=settings, resume=True
    )
    assert again.metrics == whole.metrics
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dev": 1.5}, "dev is 1.5; allowed: a file, or a share"),
        ({"seed": []}, r"seed is \[\]; give a number"),
        ({"lora": 0}, "lora is 0"),
        ({"resume": True}, "resume needs out"),
        ({"class_weights": "balanced"}, "'balanced'; give 'auto'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"options": {"top_q": 1}}, "no option 'top_q'"),
        ({"overlap": 99, "windows": True, "max_length": 5}, "smaller overlap"),
    ],
)
def test_bad_arguments(start: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, TypeError), match=message):
        finetuned(start, rows(40), **more)


def test_a_folder_with_other_content_is_refused(start: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not empty and holds no run"):
        finetuned(start, rows(40), out=tmp_path)
    finetuned(start, rows(40), out=tmp_path / "run", epochs=1)
    with pytest.raises(InputError, match="holds a finished run"):
        finetuned(start, rows(40), out=tmp_path / "run")


def test_a_task_without_labels_cannot_be_trained(start: Path) -> None:
    with pytest.raises(InputError, match="no task 'feature-extraction' to learn; the tasks are 'embed', 'fill-mask'"):
        bertie.finetune("feature-extraction", rows(9), model=start)
    with pytest.raises(InputError, match="no task 'feature-extraction' to learn"):
        bertie.evaluate("feature-extraction", rows(9), model=start)


def test_evaluation_names_unknown_labels(start: Path, tmp_path: Path) -> None:
    finetuned(start, rows(40), out=tmp_path / "run", epochs=1)
    with pytest.raises(InputError, match="'so-so'"):
        bertie.evaluate("sequence-classification", [{"text": "a", "label": "so-so"}], model=tmp_path / "run")
    found = bertie.evaluate(
        "sequence-classification",
        [{"text": "a", "label": "so-so"}, *rows(3)],
        model=tmp_path / "run",
        on_bad_row="skip",
    )
    assert (found.rows, found.skipped) == (3, 1)


def test_balanced_weights() -> None:
    data = [Example("", "a")] * 30 + [Example("", "b")] * 10
    assert balance_classes(data, ["a", "b"], "single-label") == [0.6667, 2.0]
    several = [Example("", ["a"])] * 30 + [Example("", ["a", "b"])] * 10
    assert balance_classes(several, ["a", "b"], "multi-label") == [0.05, 3.0]


def test_the_loss_on_dev_may_be_the_metric(start: Path) -> None:
    result = finetuned(start, rows(60), test=0, epochs=3, metric="loss")
    losses = {record["step"]: record["metrics"]["loss"] for record in result.history.records if "metrics" in record}
    assert result.history.best_step == min(losses, key=losses.__getitem__)
    assert result.history.best_score == -min(losses.values())
    # it is the loss that the model itself computes
    data = rows(40)
    tuned = finetuned(start, data, test=0, dev=data[:9], epochs=1)
    encoded = tuned.tokenizer([row["text"] for row in data[:9]], padding=True, return_tensors="pt")
    labels = torch.tensor([tuned.model.config.label2id[row["label"]] for row in data[:9]])
    with torch.no_grad():
        expected = float(tuned.model(**encoded, labels=labels).loss)
    assert tuned.history.best_metrics["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_metric_of_another_kind_of_labels_is_refused_before_training(start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="metric='pearson': text-classification has no such metric; it has accuracy"):
        finetuned(start, rows(20), metric="pearson", out=tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_every_task_knows_the_names_of_its_metrics() -> None:
    for task in (row.load_trainable() for row in ROWS if row.learns):
        for metric in task.metrics.values():
            assert metric.main in metric.names
    (single,) = (row.load_trainable() for row in ROWS if row.name == "text-classification")
    scores = Scores(single.metrics["single-label"](["a", "b"]))
    scores.add([0, 1], [0, 1])
    assert tuple(scores.metrics()) == ClassificationMetric.names
    scores = Scores(MultiLabelMetric(["a", "b"]))
    scores.add([[0, 1]], [[0, 1]])
    assert set(scores.metrics()) == set(MultiLabelMetric.names)
    scores = Scores(RerankingMetric())
    scores.add([("q", 0.5), ("q", 0.2)], [1, 0])
    assert set(scores.metrics()) == set(RerankingMetric.names)
