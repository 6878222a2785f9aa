"""Question answering in training and scoring: answer positions, summed losses, SQuAD's metrics, the threshold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from computing import compute, loss_of

import bertie
from bertie.errors import InputError
from bertie.metrics import Scores
from bertie.models.task_model import TaskModel
from bertie.tasks.features import Outputs
from bertie.tasks.question_answering import QuestionAnswering

FIXTURE = Path(__file__).parents[1] / "parity" / "fixtures" / "question-answering"
CONTEXT = "he lived in rome. ada was born in london in 1815, and died there."
INPUTS = [
    {"question": "where was ada born?", "context": CONTEXT, "id": "1"},
    {"question": "when was ada born?", "context": CONTEXT, "id": "2"},
    {"question": "who was he?", "context": CONTEXT, "id": "3"},
]


def answer(text: str) -> dict[str, Any]:
    return {"answers": [{"text": text, "answer_start": CONTEXT.index(text)}]}


LABELS = [answer("london"), answer("1815"), {"answers": []}]


@pytest.fixture(scope="module")
def model() -> Any:
    return bertie.BertForQuestionAnswering.from_pretrained(FIXTURE)


@pytest.fixture(scope="module")
def task(model: Any) -> QuestionAnswering:
    tokenizer = bertie.BertTokenizer(FIXTURE / "vocab.txt", model_max_length=128)
    return QuestionAnswering(tokenizer=tokenizer, config=model.config)


def test_answers_become_token_positions(task: QuestionAnswering) -> None:
    features = task.add_labels(task.encode(INPUTS), LABELS)
    assert features.labels
    assert features.labels["labels"].level == "row"
    for row, (start, end), text in zip(features.encodings, features.targets, ["london", "1815", ""], strict=True):
        found = row.tokens[start : end + 1]
        assert "".join(token.removeprefix("##") for token in found) == text or (not text and (start, end) == (0, 0))
    assert task.divisor(features) == 3


def test_windows_without_the_whole_answer_are_labelled_no_answer(task: QuestionAnswering) -> None:
    asked = task.with_options(max_length=28, overlap=8)
    features = asked.add_labels(asked.encode(INPUTS[:1]), LABELS[:1])
    assert len(features.lengths) > 2
    size = len(task.tokenizer.tokenize("london"))
    holding = 0
    for row, (start, end) in zip(features.encodings, features.targets, strict=True):
        assert (start, end) == (0, 0) or end - start + 1 == size
        holding += start > 0
        joined = "".join(token.removeprefix("##") for token in row.tokens)
        assert (start > 0) == ("london" in joined)
    assert holding >= 1


def test_answers_at_wrong_offsets_are_refused(task: QuestionAnswering) -> None:
    features = task.encode(INPUTS[:1])
    with pytest.raises(InputError, match="'paris' is not at character 3 of its context, where 'lived' is"):
        task.add_labels(features, [{"answers": [{"text": "paris", "answer_start": 3}]}])


def test_losses_are_the_models_own_and_add_up(task: QuestionAnswering, model: Any) -> None:
    features = task.add_labels(task.encode(INPUTS), LABELS)
    output = task.run(TaskModel(model), features)
    loss = task.loss(output, features)
    starts, ends = torch.from_numpy(features.targets).unbind(1)
    expected = model(TaskModel(model).packed(features), start_positions=starts, end_positions=ends).loss * 3
    torch.testing.assert_close(loss, expected)
    parts = [features.select_inputs([number]) for number in range(3)]
    torch.testing.assert_close(loss, sum(loss_of(task, model, part) for part in parts))
    loss.backward()
    assert model.qa_outputs.weight.grad.abs().sum() > 0
    model.zero_grad()


def test_predictions_are_scored_as_squad_does(task: QuestionAnswering, model: Any) -> None:
    features = task.encode(INPUTS)
    values = compute(task, model, features)
    found = task.predictions(Outputs(values, features))
    assert all(text and text in CONTEXT for text in found)
    asked = task.prepare_labels(LABELS)
    assert asked.handle_impossible_answer
    assert not task.prepare_labels(LABELS[:2]).handle_impossible_answer
    scores = Scores(asked.metric(), replicates=0)
    scores.add(["london", "1816", ""], asked.references(LABELS))
    assert scores.metrics()["exact_match"] == pytest.approx(2 / 3)
    assert {"HasAns_f1", "NoAns_f1"} <= set(scores.metrics())
    scores = Scores(task.metric(), replicates=0)
    scores.add(["London.", "in 1815"], task.references(LABELS[:2]))
    assert scores.metrics() == {"exact_match": 0.5, "f1": pytest.approx((1 + 2 / 3) / 2)}


def test_the_threshold_is_tuned_if_some_questions_have_no_answer(task: QuestionAnswering, model: Any) -> None:
    features = task.encode(INPUTS)
    values = compute(task, model, features)
    texts, differences = task.margins(Outputs(values, features))
    assert texts == task.predictions(Outputs(values, features))
    # the question least likely to have an answer is the one without
    order = np.argsort(-differences)
    labels: list[Any] = [{"answers": [{"text": text, "answer_start": 0}]} for text in texts]
    labels[order[0]] = {"answers": []}
    tuned = task.tune(Outputs(values, features, labels))
    assert differences[order[1]] < tuned.no_answer_threshold < differences[order[0]]
    assert tuned.predictions(Outputs(values, features)) == [
        "" if number == order[0] else text for number, text in enumerate(texts)
    ]
    assert tuned.errors(Outputs(values, features, labels)) == [None] * 3
    (fault,) = task.errors(Outputs(values[:1], features.select_inputs([0]), [{"answers": []}]))
    assert fault is not None
    assert (fault.expected, fault.given) == ("no answer", texts[0])
    assert task.tune(Outputs(values, features, [labels[order[1]]] * 3)) == task


def test_a_few_steps_learn_a_few_answers(task: QuestionAnswering, model: Any) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = bertie.BertConfig(**{**model.config.to_dict(), **sizes})
    learner = bertie.BertForQuestionAnswering(config).train()
    asked = task.with_options(max_length=48, overlap=16).prepare_labels(LABELS)
    features = asked.add_labels(asked.encode(INPUTS), LABELS)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=5e-3)
    for _ in range(150):
        loss = loss_of(asked, learner, features) / asked.divisor(features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    learner.eval()
    values = compute(asked, learner, features)
    assert asked.predictions(Outputs(values, features)) == ["london", "1815", ""]
