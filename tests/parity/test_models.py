"""Every class over a grid of shapes, masks, modes and losses: outputs, losses and gradients equal to transformers'."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from harness import batch_of, check_model, pair, scaled_difference

from bertie.config import BertConfig
from bertie.layers.activations import ACTIVATIONS

Record = Callable[[str, Any], None]
SHAPES = {
    "tiny": {},
    "one-layer-one-head": {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 24},
    "wide-heads": {"num_attention_heads": 2, "hidden_size": 128, "layer_norm_eps": 1e-5, "type_vocab_size": 3},
}
MASKS = ("none", "right", "left", "holes")
LABELS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "BertModel": lambda ids: {},
    "BertForPreTraining": lambda ids: {"labels": _some(ids), "next_sentence_label": torch.arange(len(ids)) % 2},
    "BertLMHeadModel": lambda ids: {"labels": _some(ids)},
    "BertForMaskedLM": lambda ids: {"labels": _some(ids)},
    "BertForNextSentencePrediction": lambda ids: {"labels": torch.arange(len(ids)) % 2},
    "BertForSequenceClassification": lambda ids: {"labels": torch.arange(len(ids)) % 2},
    "BertForTokenClassification": lambda ids: {"labels": torch.where(ids % 5 == 0, -100, ids % 2)},
    "BertForQuestionAnswering": lambda ids: {
        "start_positions": torch.zeros(len(ids), dtype=torch.long),
        "end_positions": torch.arange(len(ids)),
    },
}


def _some(ids: torch.Tensor) -> torch.Tensor:
    return torch.where(ids % 3 == 0, ids, -100)


def report(record: Record, worst: Any) -> None:
    for name, value in worst.properties().items():
        record(name, value)


# With left padding the reference pools a padding vector (decision 2): test_left_padding_pools_the_first_token.
POOLED_LOSS = ("BertForPreTraining", "BertForNextSentencePrediction", "BertForSequenceClassification")
NAMES_AND_MASKS = [(name, mask) for name in LABELS for mask in MASKS if mask != "left" or name not in POOLED_LOSS]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "mask"), NAMES_AND_MASKS)
def test_encoder(name: str, shape: str, mask: str, train: bool, record_property: Record) -> None:
    batch = batch_of(mask)
    labels = LABELS[name](batch["input_ids"])
    if name == "BertLMHeadModel" and mask != "none":  # a padded place predicts nothing here
        labels = {"labels": labels["labels"].masked_fill(_after_padding(batch["attention_mask"]), -100)}
    report(record_property, check_model(name, SHAPES[shape], {**batch, **labels}, train=train, pooled=mask != "left"))


def _after_padding(mask: torch.Tensor) -> torch.Tensor:
    before = torch.cat([torch.zeros(len(mask), 1, dtype=mask.dtype), mask[:, :-1]], 1)
    return before == 0


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", ["BertModel", "BertLMHeadModel"])
def test_decoder(name: str, mask: str, record_property: Record) -> None:
    batch = batch_of(mask)
    batch |= LABELS[name](batch["input_ids"]) if mask == "none" else {}
    worst = check_model(name, {"is_decoder": True, "use_cache": False}, batch, pooled=mask != "left")
    report(record_property, worst)


@pytest.mark.parametrize("encoder_mask", [None, "right", "holes"])
@pytest.mark.parametrize("mask", ["none", "right", "holes"])
def test_cross_attention(mask: str, encoder_mask: str | None, record_property: Record) -> None:
    batch: dict[str, Any] = batch_of(mask)
    batch["encoder_hidden_states"] = torch.randn(4, 7, 32, generator=torch.Generator().manual_seed(3))
    if encoder_mask:
        batch["encoder_attention_mask"] = batch_of(encoder_mask, width=7)["attention_mask"]
    config = {"is_decoder": True, "add_cross_attention": True, "use_cache": False}
    report(record_property, check_model("BertLMHeadModel", config, batch))


@pytest.mark.parametrize("hidden_act", sorted(ACTIVATIONS))
def test_activations(hidden_act: str, record_property: Record) -> None:
    batch = batch_of("right")
    labels = LABELS["BertForMaskedLM"](batch["input_ids"])
    report(record_property, check_model("BertForMaskedLM", {"hidden_act": hidden_act}, {**batch, **labels}))


def test_the_config_allows_exactly_the_activations_there_are() -> None:
    for hidden_act in ACTIVATIONS:
        assert BertConfig(hidden_act=hidden_act).hidden_act == hidden_act
    with pytest.raises(ValueError, match="hidden_act"):
        BertConfig(hidden_act="os.system")


PROBLEMS = {
    "single": ({"num_labels": 3}, torch.tensor([0, 2, 1, -100])),
    "single-int32": ({"num_labels": 3}, torch.tensor([0, 2, 1, 1], dtype=torch.int32).long()),
    "multi": ({"num_labels": 3}, torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])),
    "regression": ({"num_labels": 1}, torch.tensor([0.5, -1.0, 2.0, 3.0])),
    "regression-many": ({"num_labels": 2, "problem_type": "regression"}, torch.randn(4, 2)),
    "multi-named": (
        {"num_labels": 2, "problem_type": "multi_label_classification"},
        torch.tensor([[0.0, 1], [1, 0], [0, 0], [1, 1]]),
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("mask", ["none", "right"])
def test_problem_types(problem: str, mask: str, record_property: Record) -> None:
    config, labels = PROBLEMS[problem]
    batch = {**batch_of(mask), "labels": labels}
    # the reference writes the problem type it guessed into its config: give each case a config of its own
    config = {**config, "classifier_dropout": 0.0}
    ours, reference = pair("BertForSequenceClassification", config)
    reference.config.problem_type = config.get("problem_type")
    report(record_property, check_model("BertForSequenceClassification", config, batch))
    assert ours.config.problem_type == config.get("problem_type")


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("mask", ["none", "right"])
def test_multiple_choice(mask: str, train: bool) -> None:
    ours, reference = pair("BertForMultipleChoice", train=train)
    batch = {name: value.view(2, 3, -1) for name, value in batch_of(mask, texts=6).items()}
    batch["labels"] = torch.tensor([2, 0])
    output, expected = ours(**batch), reference(**batch)
    assert output.logits.shape == (2, 3)
    assert scaled_difference(output.logits, expected.logits) <= 1e-5
    assert scaled_difference(output.loss, expected.loss) <= 1e-5
    output.loss.backward()
    expected.loss.backward()
    for (name, got), wanted in zip(ours.named_parameters(), reference.parameters(), strict=True):
        assert scaled_difference(got.grad, wanted.grad) <= 2e-5, name


@pytest.mark.parametrize("name", ["BertModel", "BertForTokenClassification"])
def test_inputs_embeds_and_position_ids(name: str, record_property: Record) -> None:
    batch = batch_of("right")
    ids = batch.pop("input_ids")
    batch["inputs_embeds"] = torch.randn(*ids.shape, 32, generator=torch.Generator().manual_seed(5))
    batch["position_ids"] = torch.arange(ids.shape[1]).flip(0)[None]
    report(record_property, check_model(name, None, batch))


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("kind", ["bool", "additive"])
def test_masks_of_four_dimensions(kind: str, heads: int, record_property: Record) -> None:
    batch = batch_of("none")
    visible = torch.rand(4, heads, 11, 11, generator=torch.Generator().manual_seed(2)) > 0.3
    visible[..., 0] = True
    additive = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    ours, reference = pair("BertModel")
    got = ours(**batch, attention_mask=visible if kind == "bool" else additive)
    wanted = reference(**batch, attention_mask=additive)
    difference = scaled_difference(got.last_hidden_state, wanted.last_hidden_state)
    assert difference <= 1e-5
    record_property("cases", 1)
    record_property("outputs", difference)


def test_a_mask_of_three_dimensions_is_one_of_four_with_one_head() -> None:
    batch, (ours, _) = batch_of("none"), pair("BertModel")
    visible = torch.ones(4, 11, 11, dtype=torch.bool).tril()
    three, four = ours(**batch, attention_mask=visible), ours(**batch, attention_mask=visible[:, None])
    assert torch.equal(three.last_hidden_state, four.last_hidden_state)
    decoder = pair("BertModel", {"is_decoder": True, "use_cache": False})[0]
    decoder.load_state_dict(ours.state_dict())
    assert scaled_difference(three.last_hidden_state, decoder(**batch).last_hidden_state) <= 1e-5


def test_left_padding_pools_the_first_token() -> None:
    """Decision 2: the reference, given the same text padded on the right with the same positions, pools the same."""
    batch, (ours, reference) = batch_of("left"), pair("BertModel")
    lengths = batch["attention_mask"].sum(1).tolist()
    pooled = ours(**batch).pooler_output
    for row, length in enumerate(lengths):
        text = {name: batch[name][row : row + 1, -length:] for name in ("input_ids", "token_type_ids")}
        positions = torch.arange(11 - length, 11)[None]
        expected = reference(**text, position_ids=positions).pooler_output[0]
        assert scaled_difference(pooled[row], expected) <= 1e-5


@pytest.mark.parametrize("name", LABELS)
def test_tuples_have_the_same_order(name: str) -> None:
    ours, reference = pair(name)
    batch = batch_of("none")
    batch |= LABELS[name](batch["input_ids"])
    for asked in ({}, {"output_hidden_states": True}, {"output_hidden_states": True, "output_attentions": True}):
        got, wanted = (model(**batch, **asked, return_dict=False) for model in (ours, reference))
        assert isinstance(got, tuple)
        shapes = [[_shape(value) for value in output] for output in (got, wanted)]
        assert shapes[0] == shapes[1]


def _shape(value: Any) -> Any:
    return [_shape(part) for part in value] if isinstance(value, tuple) else tuple(value.shape)


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_errs_no_more_than_the_reference(name: str, dtype: torch.dtype) -> None:
    """Right is an error against fp32, in outputs and gradients, of no more than about three times the reference's."""
    batch = batch_of("right")
    if name == "BertForQuestionAnswering":  # whose loss sees no padding here (decision 1)
        batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
    labels = LABELS[name](batch["input_ids"])
    if name == "BertLMHeadModel":
        labels = {"labels": labels["labels"].masked_fill(_after_padding(batch["attention_mask"]), -100)}
    masked = {key: _unlabel_padding(value, batch["attention_mask"]) for key, value in labels.items()}
    results = []
    for model in (pair(name)[1], *(copy.deepcopy(model).to(dtype) for model in pair(name))):
        output = model(**batch, **masked)
        first = output["loss"] if labels else output[0][batch["attention_mask"].bool()].sum()
        assert first.dtype == model.dtype or name == "BertLMHeadModel", "its loss is taken in fp32"
        first.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        results.append((_real_part(output[1 if labels else 0].detach(), batch["attention_mask"]), *gradients))
    for truth, got, wanted in zip(*results, strict=True):
        scale = max(1.0, float(truth.abs().max()))
        own = float((wanted.float() - truth).abs().max()) / scale
        assert float((got.float() - truth).abs().max()) / scale <= 3 * own + 2e-3


def _unlabel_padding(labels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return labels.masked_fill(mask == 0, -100) if labels.shape == mask.shape else labels


def _real_part(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return values[mask.bool()] if values.shape[:2] == mask.shape else values


def test_the_divisor_of_a_language_model_s_loss_can_be_given() -> None:
    ours, reference = pair("BertLMHeadModel")
    batch = batch_of("none")
    batch |= LABELS["BertLMHeadModel"](batch["input_ids"])
    for divisor in (7, torch.tensor(11)):
        got, wanted = (model(**batch, num_items_in_batch=divisor).loss for model in (ours, reference))
        assert scaled_difference(got, wanted) <= 1e-5
