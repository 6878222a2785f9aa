"""How heads are initialized: new ones at the label frequencies; trained ones are kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from films import write_start

import bertie
from bertie.tasks.registry import find
from bertie.tasks.text_classification import TextClassification
from bertie.tasks.token_classification import TokenClassification

TEXTS = ["a good film", "the plot is bad"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), num_hidden_layers=1)


def started(start: Path, name: str, labels: list[Any], head: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """Return the task after `on_train_start`, and its model."""
    model_class = {
        "text-classification": bertie.BertForSequenceClassification,
        "token-classification": bertie.BertForTokenClassification,
        "reranking": bertie.BertForSequenceClassification,
    }[name]
    model = model_class.from_pretrained(start, **head).eval()
    tokenizer = bertie.AutoTokenizer.from_pretrained(start)
    task: Any = find(name).load_task()(tokenizer=tokenizer, config=model.config).with_options(**options)
    return task.on_train_start(model, labels), model


def test_class_biases_start_at_the_class_frequencies(start: Path) -> None:
    head = TextClassification.head("single-label", ["neg", "pos"])
    _, model = started(start, "text-classification", ["pos"] * 899 + ["neg"] * 99, head)
    assert model.classifier.bias.softmax(0).tolist() == pytest.approx([0.1, 0.9])
    _, model = started(start, "text-classification", ["pos"] * 900 + ["neg"] * 100, head, class_weights=(5, 5 / 9))
    assert model.classifier.bias.softmax(0).tolist() == pytest.approx([0.5, 0.5])


def test_multi_label_biases_start_at_the_label_frequencies(start: Path) -> None:
    head = TextClassification.head("multi-label", ["a", "b"])
    labels = [["a"]] * 9 + [["a", "b"]] * 10 + [[]] * 79
    _, model = started(start, "text-classification", labels, head)
    assert model.classifier.bias.sigmoid().tolist() == pytest.approx([0.2, 0.11])


def test_relevance_bias_starts_at_the_mean(start: Path) -> None:
    head = {"num_labels": 1, "problem_type": "multi_label_classification"}
    _, model = started(start, "reranking", [0, 0, 0, 3, 0, 0, 0, 0], head)
    assert model.classifier.bias.sigmoid().tolist() == pytest.approx([0.2])


def test_tag_biases_start_at_the_tag_frequencies(start: Path) -> None:
    head = TokenClassification.head(None, ["O", "B-X", "I-X"])
    _, model = started(start, "token-classification", [["O"] * 9, ["B-X"]], head)
    assert model.classifier.bias.softmax(0).tolist() == pytest.approx([10 / 13, 2 / 13, 1 / 13])


def test_trained_heads_are_kept(start: Path, tmp_path: Path) -> None:
    head = TextClassification.head("single-label", ["neg", "pos"])
    _, model = started(start, "text-classification", ["pos"] * 3 + ["neg"], head)
    model.save_pretrained(tmp_path)
    bertie.AutoTokenizer.from_pretrained(start).save_pretrained(tmp_path)
    _, again = started(tmp_path, "text-classification", ["neg"] * 50 + ["pos"], head)
    assert torch.equal(again.classifier.bias, model.classifier.bias)


@pytest.mark.parametrize("trained", [False, True])
def test_a_regression_learns_standardized_labels(start: Path, trained: bool) -> None:
    head = TextClassification.head("regression", [])
    prices = [100_000.0, 300_000.0]
    model = bertie.BertForSequenceClassification.from_pretrained(start, **head).eval()
    if trained:
        torch.nn.init.constant_(model.classifier.bias, 150_000.0)
    tokenizer = bertie.AutoTokenizer.from_pretrained(start)
    task = TextClassification(tokenizer=tokenizer, config=model.config)
    before, weight = (
        model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits,
        model.classifier.weight.clone(),
    )
    learning = task.on_train_start(model, prices)
    assert (learning.standardization.mean, learning.standardization.scale) == (200_000.0, 100_000.0)
    assert torch.equal(model.classifier.weight, weight) is not trained
    features = learning.add_labels(learning.encode(TEXTS), prices)
    logits = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    wanted = torch.tensor([[-1.0], [1.0]])
    assert learning.loss(logits, features).item() == pytest.approx(((logits - wanted) ** 2).sum().item())
    shown = learning.scores(logits.detach().numpy())
    assert learning.on_train_end(model).standardization == task.standardization
    after = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits.detach().numpy()
    np.testing.assert_allclose(after, shown, rtol=1e-5)
    if trained:
        np.testing.assert_allclose(after, before.detach().numpy(), rtol=1e-5)
