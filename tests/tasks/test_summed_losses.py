"""Losses of classifiers: label smoothing as in PyTorch, Trainer and Keras, and options that exclude each other."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers.trainer_pt_utils import LabelSmoother

import bertie
from bertie.errors import InputError, InputTypeError
from bertie.tasks.features import Features
from bertie.tasks.reranking import Reranking
from bertie.tasks.summed_losses import binary_sum, cross_entropy_sum
from bertie.tasks.text_classification import TextClassification
from bertie.tasks.token_classification import TokenClassification

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, -100, 1, 1, 2])
SMOOTHING = 0.1


def test_smoothed_classes_as_in_pytorch_and_in_trainer() -> None:
    found = cross_entropy_sum(LOGITS, LABELS, smoothing=SMOOTHING) / (LABELS != -100).sum()
    torch.testing.assert_close(found, F.cross_entropy(LOGITS, LABELS, label_smoothing=SMOOTHING))
    trainer = LabelSmoother(epsilon=SMOOTHING)({"logits": LOGITS}, LABELS.clone())
    torch.testing.assert_close(found, trainer)


def test_smoothed_classes_with_weights_as_in_pytorch() -> None:
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    divisor = weights[LABELS[LABELS != -100]].sum()
    found = cross_entropy_sum(LOGITS, LABELS, weights, smoothing=SMOOTHING) / divisor
    torch.testing.assert_close(found, F.cross_entropy(LOGITS, LABELS, weights, label_smoothing=SMOOTHING))


def test_smoothed_labels_move_towards_one_half() -> None:
    wanted = torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 0]])
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    expected = F.binary_cross_entropy_with_logits(
        LOGITS[:2], torch.tensor([[0.95, 0.05, 0.05, 0.95], [0.05, 0.05, 0.95, 0.05]]), pos_weight=weights
    )
    torch.testing.assert_close(binary_sum(LOGITS[:2], wanted, weights, smoothing=SMOOTHING) / 8, expected)


def of_labels(task: Any, values: Any, each: Any = "input") -> torch.Tensor:
    count = len(values)
    features = Features.from_lists([[1]] * count, [[0]] * count, [0] * count, [False] * count)
    return task.loss(LOGITS[:count, : task.config.num_labels], features.with_labels(np.asarray(values), each))


@pytest.mark.parametrize("kind", [TextClassification, TokenClassification])
def test_tasks_learn_from_smoothed_labels(kind: Any) -> None:
    task = kind(tokenizer=None, config=bertie.BertConfig(num_labels=4), label_smoothing=SMOOTHING)
    each = "token" if kind is TokenClassification else "input"
    expected = F.cross_entropy(LOGITS[3:5], torch.tensor([1, 1]), label_smoothing=SMOOTHING, reduction="sum")
    found = of_labels(task, [0, 3, -100, 1, 1], each) - of_labels(task, [0, 3, -100], each)
    torch.testing.assert_close(found, expected)


def test_rerankers_learn_from_smoothed_labels() -> None:
    task = Reranking(tokenizer=None, config=bertie.BertConfig(num_labels=1), label_smoothing=SMOOTHING)
    expected = F.binary_cross_entropy_with_logits(LOGITS[:2, :1], torch.tensor([[0.95], [0.05]]), reduction="sum")
    torch.testing.assert_close(of_labels(task, np.array([[1], [0]], np.float32)), expected)


def test_impossible_smoothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"label_smoothing is 0.1, but the labels are numbers"):
        TextClassification(tokenizer=None, config=bertie.BertConfig(num_labels=1), label_smoothing=SMOOTHING)
    nowhere = SimpleNamespace()  # refused before anything is read
    for task, options, message in (
        ("classification", {"label_smoothing": 1.5}, "label_smoothing is 1.5; allowed: a number from 0 to 1"),
        ("classification", {"focal": -1.0}, "focal is -1.0; allowed: a number of at least 0"),
        ("ner", {"focal": 2.0, "label_smoothing": 0.1}, "focal=2.0 and label_smoothing=0.1 exclude each other"),
        ("qa", {"label_smoothing": 0.1}, "no option 'label_smoothing'"),
        ("embedding", {"options": {"scall": 3}}, r"no option 'scall'; .*Did you mean 'scale'\?"),
    ):
        with pytest.raises((InputError, InputTypeError), match=message):
            bertie.finetune(task, nowhere, model=nowhere, **options)
