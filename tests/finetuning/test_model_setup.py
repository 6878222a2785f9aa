"""The starting model: the default, and heads whose rows follow the names of their labels."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from films import write_start

import bertie
from bertie.finetuning.model_setup import has_labels, transfer_labels
from bertie.finetuning.plan import Plan
from bertie.hub import DEFAULT_EMBEDDING_MODEL, DEFAULT_PRETRAINED_MODEL, default_pretrained_model

ROWS = [{"text": f"a {word} film {number}", "label": label}
        for number in range(20) for word, label in (("good", "pos"), ("bad", "neg"), ("plot", "so-so"))]  # fmt: skip


def model(*labels: str, **fields: Any) -> Any:
    """Return a classifier whose head has, in the row of each label, that label's number from 1 among all labels."""
    shape = {
        "vocab_size": 9,
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 4,
    }
    config = bertie.BertConfig(**shape, id2label=dict(enumerate(labels)), **fields)
    made = bertie.BertForSequenceClassification(config)
    made.config.architectures = ["BertForSequenceClassification"]
    with torch.no_grad():
        made.classifier.bias.copy_(torch.arange(1, len(labels) + 1))
        made.classifier.weight.copy_(torch.arange(1, len(labels) + 1)[:, None].expand(-1, 4))
    return made


def rows_of(made: Any) -> dict[str, float]:
    weight, bias = made.classifier.weight, made.classifier.bias
    assert torch.equal(weight[:, 0][bias != 0], bias[bias != 0])
    return dict(zip(made.config.id2label.values(), bias.tolist(), strict=True))


def test_rows_keep_their_names_and_their_order() -> None:
    made = model("neutral", "entailment", "contradiction")
    assert transfer_labels(made, ["contradiction", "entailment", "neutral"]) == []
    assert rows_of(made) == {"neutral": 1.0, "entailment": 2.0, "contradiction": 3.0}
    assert list(made.config.id2label.values()) == ["neutral", "entailment", "contradiction"]


def test_new_labels_come_after_the_old_ones_and_are_reported() -> None:
    made = model("pos", "neg", "other")
    said = transfer_labels(made, ["maybe", "neg", "pos"])
    assert rows_of(made) == {"pos": 1.0, "neg": 2.0, "maybe": 0.0}
    assert made.classifier.weight[2].any()
    assert made.num_labels == made.config.num_labels == 3
    assert said == ["The model's head keeps pos, neg, is newly initialised for maybe, drops other, which no row has."]


def test_labels_match_ignoring_case() -> None:
    made = model("ENTAILMENT", "NEUTRAL")
    assert transfer_labels(made, ["neutral", "entailment"]) == [
        "The model's labels are renamed: 'ENTAILMENT' as 'entailment', 'NEUTRAL' as 'neutral'."
    ]
    assert rows_of(made) == {"entailment": 1.0, "neutral": 2.0}
    made = model("LABEL_0", "LABEL_1")
    transfer_labels(made, ["0", "1"])
    assert rows_of(made) == {"0": 1.0, "1": 2.0}


def test_a_head_of_other_labels_is_newly_initialised_and_reported() -> None:
    made = model("LABEL_0", "LABEL_1")
    assert transfer_labels(made, ["neg", "pos"]) == [
        "None of the data's labels (neg, pos) is one of the model's (LABEL_0, LABEL_1): its head is newly initialised; "
        "label_map={'neg': 'LABEL_0'} would say that two are the same."
    ]
    assert rows_of(made) == {"neg": 0.0, "pos": 0.0}


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, True),
        ({"architectures": ["BertModel"]}, False),
        ({"architectures": ["BertModel"], "id2label": {0: "neg", 1: "pos"}}, True),
        ({"architectures": ["BertForSequenceClassification"], "num_labels": 1}, False),
    ],
)
def test_has_labels(fields: dict[str, Any], found: bool) -> None:
    config = bertie.BertConfig(**{name: value for name, value in fields.items() if name != "architectures"})
    config.architectures = fields["architectures"]
    assert has_labels(config) is found


def test_training_continues_from_a_model_with_another_label_order(tmp_path: Path) -> None:
    start = write_start(
        tmp_path / "start", num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    options: dict[str, Any] = {"epochs": 10, "learning_rate": 2e-3, "batch_size": 8, "show_progress": False, "dev": 0}
    first = bertie.finetune("sequence-classification", ROWS, model=start, test=ROWS, out=tmp_path / "first", **options)
    assert first is not None
    assert first.metrics["accuracy"] == 1.0
    # the same model in another order
    turned = first.model
    turned.classifier.weight.data, turned.classifier.bias.data = (
        turned.classifier.weight.data.flip(0),
        turned.classifier.bias.data.flip(0),
    )
    turned.config.id2label = dict(enumerate(reversed(list(turned.config.id2label.values()))))
    turned.save_pretrained(tmp_path / "turned")
    first.tokenizer.save_pretrained(tmp_path / "turned")
    still = {**options, "epochs": 1, "learning_rate": 1e-9}
    for source in (tmp_path / "turned", str(tmp_path / "first")):
        again = bertie.finetune(
            "sequence-classification", ROWS, model=source, test=ROWS, class_weights={"pos": 2}, **still
        )
        assert again is not None
        assert again.metrics["accuracy"] == 1.0
    assert list(turned.config.id2label.values()) == ["so-so", "pos", "neg"]
    # with fewer labels, in another case
    fewer = [{**row, "label": row["label"].upper()} for row in ROWS if row["label"] != "so-so"]
    again = bertie.finetune("sequence-classification", fewer, model=tmp_path / "turned", test=fewer, **still)
    assert again is not None
    assert again.metrics["accuracy"] == 1.0
    assert again.model.config.id2label == {0: "POS", 1: "NEG"}
    assert any("drops so-so, which no row has" in warning for warning in again.warnings)


def test_answers_are_learned_by_a_model_that_had_other_classes(tmp_path: Path) -> None:
    start = write_start(tmp_path / "start", num_labels=3)
    rows = [{"question": "A film?", "context": f"a bad plot {number}", "answer_text": "bad"} for number in range(8)]
    options: dict[str, Any] = {"epochs": 1, "show_progress": False, "dev": 0}
    found = bertie.finetune("question-answering", rows, model=start, test=rows, out=tmp_path / "run", **options)
    assert found is not None
    assert bertie.BertConfig.from_pretrained(tmp_path / "run").num_labels == 2
    assert "answer" in bertie.pipeline("question-answering", tmp_path / "run")(("A film?", "a bad plot"))


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("classification", DEFAULT_EMBEDDING_MODEL),
        ("masked-lm", DEFAULT_PRETRAINED_MODEL),
        ("nsp", DEFAULT_PRETRAINED_MODEL),
    ],
)
def test_the_default_starting_model(task: str, name: str, minilm: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = Plan(task=task, train=[])
    assert f"No model is named: training starts from {name}." in caplog.text
    assert isinstance(plan.model, Path)
    assert plan.model.samefile(minilm if name == DEFAULT_EMBEDDING_MODEL else default_pretrained_model())
    assert dataclasses.replace(plan, device="cpu").model == plan.model
    assert len(caplog.records) == 1
