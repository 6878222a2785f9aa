"""Entry and exit of batches: returned tensors are in the autograd graph; limits are those of the actual modules."""

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import bertie

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
IDS = torch.randint(5, 60, (3, 6), generator=torch.Generator().manual_seed(0))
MASKS = {
    "none": torch.ones_like(IDS),
    "right": torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5]),
    "holes": torch.tensor([[1, 0, 1, 1, 0, 1], [1] * 6, [1, 1, 0, 0, 0, 1]]),
}
LABELS: dict[str, dict[str, Tensor]] = {
    "Model": {},
    "ForMaskedLM": {"labels": IDS},
    "ForPreTraining": {"labels": IDS, "next_sentence_label": torch.tensor([0, 1, 1])},
    "LMHeadModel": {"labels": IDS},
    "ForTokenClassification": {"labels": IDS % 2},
    "ForSequenceClassification": {"labels": torch.tensor([0, 1, 1])},
    "ForNextSentencePrediction": {"labels": torch.tensor([0, 1, 1])},
    "ForQuestionAnswering": {},
}


def pair(name: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    fields = {**SIZES, "is_decoder": name == "LMHeadModel"}
    reference = getattr(transformers, f"Bert{name}")(transformers.BertConfig(**fields))
    reference.set_attn_implementation("eager")
    ours = getattr(bertie, f"Bert{name}")(bertie.BertConfig(**fields))
    ours.load_state_dict(reference.state_dict())
    return ours.train(), reference.train()


def returned(output: Any) -> dict[str, Tensor]:
    """Return every tensor of an output but the loss, by name."""
    found = {}
    for name, value in output.items():
        if name not in ("loss", "past_key_values"):
            parts = value if isinstance(value, tuple) else (value,)
            found |= {f"{name}[{index}]": part for index, part in enumerate(parts)}
    return found


def gradients(model: Any, mask: Tensor, labels: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradient of the loss, or of a substitute for it, with respect to all that the model returned."""
    output = model(IDS, attention_mask=mask, output_hidden_states=True, output_attentions=True, **labels)
    if labels:
        target = output.loss
    elif "start_logits" in output:  # the loss differs on purpose (decision 1)
        target = (output.start_logits - output.end_logits)[mask.bool()].square().sum()
    else:
        target = output.pooler_output.square().sum() + (output.last_hidden_state[:, 0] ** 3).sum()
    tensors = returned(output)
    kept = torch.autograd.grad(target, list(tensors.values()), allow_unused=True)
    return dict(zip(tensors, kept, strict=True))


@pytest.mark.parametrize("looking", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", LABELS)
def test_gradients_reach_the_returned_tensors(name: str, mask: str, looking: bool) -> None:
    ours, reference = pair(name)
    if looking:
        (ours.bert if name != "Model" else ours).encoder.layer[0].register_forward_hook(lambda *_: None)
    real = MASKS[mask].bool()
    labels = LABELS[name]
    if "labels" in labels and labels["labels"].shape == IDS.shape:
        labels = {**labels, "labels": labels["labels"].masked_fill(~real, -100)}  # decision 3
        if name == "LMHeadModel":  # a masked token predicts nothing here
            labels["labels"][:, 1:] = labels["labels"][:, 1:].masked_fill(~real[:, :-1], -100)
    found, expected = (gradients(model, MASKS[mask], labels) for model in (ours, reference))
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        got = found[key]
        assert (got is None) == (wanted is None), key
        if wanted is None:
            continue
        if key.startswith("attentions"):
            got, wanted = (
                each.transpose(1, 2)[real] * real[:, None, :].expand(-1, 6, -1)[real][:, None] for each in (got, wanted)
            )
        elif got.shape[:2] == real.shape:
            got, wanted = got[real], wanted[real]
        torch.testing.assert_close(got, wanted, atol=2e-5, rtol=1e-4, msg=lambda text, key=key: f"{key}: {text}")


def test_returned_tensors_retain_their_gradients() -> None:
    ours, reference = pair("ForSequenceClassification")
    kept = []
    for model in (ours, reference):
        output = model(IDS, attention_mask=MASKS["right"], output_hidden_states=True)
        for states in output.hidden_states:
            states.retain_grad()
        output.logits[:, 1].sum().backward()
        kept.append([states.grad[MASKS["right"].bool()] for states in output.hidden_states])
    torch.testing.assert_close(kept[0], kept[1], atol=1e-5, rtol=1e-5)


def test_the_last_of_all_states_is_the_last_state() -> None:
    ours, _ = pair("Model")
    output = ours(IDS, attention_mask=MASKS["right"], output_hidden_states=True)
    assert output.hidden_states[-1] is output.last_hidden_state


def test_packed_outputs_are_in_the_autograd_graph() -> None:
    ours, _ = pair("ForTokenClassification")
    packed = bertie.Packed.from_padded(IDS, MASKS["right"])
    for looking in (False, True):
        if looking:
            ours.classifier.register_forward_hook(lambda *_: None)
        output = ours(packed, labels=torch.zeros(packed.num_tokens, dtype=torch.long))
        (gradient,) = torch.autograd.grad(output.loss, [output.logits])
        assert gradient.shape == (packed.num_tokens, 2)
        assert gradient.any()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_half_precision_with_an_observer(attention: str) -> None:
    """An empty text is masked by a value that half precision can hold."""
    model = bertie.BertModel(bertie.BertConfig(**SIZES)).eval()
    model.set_attn_implementation(attention)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [0] * 6])
    expected = model(IDS, attention_mask=mask, output_attentions=True)
    model.encoder.layer[0].register_forward_hook(lambda *_: None)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(IDS, attention_mask=mask, output_attentions=True)
    assert found.attentions[0].dtype == torch.bfloat16
    for output in (found, model.bfloat16()(IDS, attention_mask=mask, output_attentions=True)):
        for name in ("last_hidden_state", "pooler_output"):
            torch.testing.assert_close(output[name].float(), expected[name], atol=0.1, rtol=0)
        torch.testing.assert_close(output.attentions[1].float(), expected.attentions[1], atol=0.02, rtol=0)


# Limits.


def test_limits_are_those_of_the_embeddings() -> None:
    model = bertie.BertModel(bertie.BertConfig(**SIZES)).eval()
    for refused in ({"token_type_ids": IDS % 4}, {"input_ids": IDS + 60}, {"position_ids": torch.arange(10, 16)[None]}):
        with pytest.raises(bertie.InputError):
            model(**{"input_ids": IDS, **refused})
    table = model.embeddings
    table.token_type_embeddings = nn.Embedding(4, 16)
    table.word_embeddings = nn.Embedding(120, 16)
    table.position_embeddings = nn.Embedding(20, 16)
    for given in ({"token_type_ids": IDS % 4}, {"input_ids": IDS + 60}, {"position_ids": torch.arange(10, 16)[None]}):
        assert model(**{"input_ids": IDS, **given}).last_hidden_state.isfinite().all()
    long = torch.full((1, 15), 7)
    expected = model(long).last_hidden_state
    with pytest.raises(bertie.InputError, match=r"token_type_ids\[0, 0\] is 4, but type_vocab_size is 4"):
        model(IDS, token_type_ids=torch.full_like(IDS, 4))
    model.encoder.register_forward_hook(lambda *_: None)
    torch.testing.assert_close(model(long).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def test_a_foreign_embedding_checks_its_own_limit() -> None:
    class Hashed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(7, 16)

        def forward(self, ids: Tensor) -> Tensor:
            assert ids.dim() == 2
            return self.table(ids % 7)

    model = bertie.BertModel(bertie.BertConfig(**SIZES)).eval()
    model.embeddings.word_embeddings = Hashed()
    a, b = (model(ids).last_hidden_state for ids in (IDS, IDS + 7000))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("shape", [(3, 6), (1, 6), (6,), (3, 1), (1, 1), (1,), ()])
@pytest.mark.parametrize("name", ["position_ids", "token_type_ids"])
@pytest.mark.parametrize("mask", ["none", "holes"])
@pytest.mark.parametrize("hooked", [False, True])
def test_inputs_are_broadcast_over_the_batch(shape: tuple[int, ...], name: str, mask: str, hooked: bool) -> None:
    """Positions and token types of fewer dimensions are broadcast to all texts, as in the reference."""
    ours, reference = pair("Model")
    values = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(2))
    given = {"token_type_ids": torch.zeros_like(IDS), "attention_mask": MASKS[mask], name: values}
    seen: list[Any] = []
    if hooked:
        ours.embeddings.register_forward_hook(lambda *_: seen.append(1))
    real = MASKS[mask].bool()
    with torch.no_grad():
        found, expected = ours(IDS, **given).last_hidden_state, reference(IDS, **given).last_hidden_state
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=0)
    assert len(seen) == hooked


@pytest.mark.parametrize("shape", [(2, 6), (5,), (3, 2), (6, 1), (1, 3, 6)])
@pytest.mark.parametrize("name", ["position_ids", "token_type_ids"])
def test_inputs_that_cannot_be_broadcast_are_refused(shape: tuple[int, ...], name: str) -> None:
    with pytest.raises(
        bertie.InputError, match=f"{name} (has shape .* but the batch has shape|must have 2 dimensions)"
    ):
        pair("Model")[0](IDS, **{name: torch.zeros(shape, dtype=torch.long)})


def test_one_text_is_one_text() -> None:
    model = pair("Model")[0]
    with pytest.raises(bertie.InputError, match="does not fit 1 text of 6 tokens attending to 6 keys with 2 heads"):
        model(IDS[:1], attention_mask=torch.ones(1, 1, 5, 5, dtype=torch.bool))
    assert repr(bertie.Packed.from_lists([[5]])).startswith("Packed(1 text, 1 token, ")


def test_labels_are_checked_against_the_actual_head() -> None:
    model = bertie.BertForTokenClassification(bertie.BertConfig(**SIZES))
    with pytest.raises(bertie.InputError, match="allowed are 0 to 1"):
        model(IDS, labels=IDS % 5)
    model.classifier = nn.Linear(16, 5)
    assert model(IDS, labels=IDS % 5).loss.isfinite()
    words = bertie.BertForMaskedLM(bertie.BertConfig(**SIZES, tie_word_embeddings=False))
    words.set_output_embeddings(nn.Linear(16, 80))
    assert words(IDS, labels=IDS + 15).loss.isfinite()


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids"])
def test_padding_out_of_range_is_ignored(name: str) -> None:
    """Nor are columns beyond the positions, even with an observer."""
    model = bertie.BertModel(bertie.BertConfig(**SIZES)).eval()
    ids = torch.full((2, 20), 7)
    mask = torch.zeros_like(ids)
    mask[0, :4] = mask[1, :9] = 1
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    batch[name] = batch[name].masked_fill(mask == 0, 10_000)
    expected = model(**batch).last_hidden_state
    model.encoder.layer[1].register_forward_hook(lambda *_: None)
    torch.testing.assert_close(model(**batch).last_hidden_state, expected, atol=1e-5, rtol=1e-5)
