"""Relative position embeddings against transformers 4, the last to have them (make_relative_key_fixtures.py)."""

from pathlib import Path

import pytest
import torch
from harness import GRADIENT_TOLERANCE, OUTPUT_TOLERANCE, scaled_difference
from safetensors.torch import load_file
from torch import Tensor

import bertie

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = ("relative_key", "relative_key_query")


def load(name: str) -> tuple[bertie.BertPreTrainedModel, dict[str, Tensor], dict[str, Tensor]]:
    """Return the model, its inputs, and what transformers 4 answered."""
    cls = bertie.BertModel if name.endswith("encoder") else bertie.BertLMHeadModel
    tensors = load_file(FIXTURES / name / "expected.safetensors")
    parts = ({key[len(p) :]: tensors[key] for key in tensors if key.startswith(p)} for p in ("input.", "output."))
    return cls.from_pretrained(FIXTURES / name), *parts


def on_tokens(name: str, value: Tensor, real: Tensor) -> Tensor:
    """Return ``value`` without what stands on padding."""
    if name == "pooler_output":  # decision 2: of a left-padded text the reference pools padding
        return value[real[:, 0]]
    if name.endswith("attentions"):
        return value.transpose(2, 3)[:, real]  # [L, B, H, S, S_keys]
    return value[real] if value.dim() == 3 else value[:, real]


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_attentions_and_gradients_are_those_of_transformers_4(kind, part):
    model, inputs, expected = load(f"{kind}-{part}")
    gradient = expected.pop("gradient")
    output = model(**inputs, output_attentions=True, output_hidden_states=True, use_cache=False)
    real = inputs["attention_mask"].bool()
    assert set(expected) <= set(output)
    for name, reference in expected.items():
        ours = output[name] if isinstance(output[name], Tensor) else torch.stack(output[name])
        ours, reference = (on_tokens(name, value, real) for value in (ours, reference))
        assert scaled_difference(ours, reference) <= OUTPUT_TOLERANCE, name
    (output[0][real] ** 2).mean().backward()
    table = model.base_model.encoder.layer[0].attention.self.distance_embedding.weight
    assert scaled_difference(table.grad, gradient) <= GRADIENT_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_step_with_a_cache_counts_distances_from_the_start(kind):
    model, inputs, expected = load(f"{kind}-decoder")
    encoder = {name: inputs[name] for name in ("encoder_hidden_states", "encoder_attention_mask")}
    cache = None
    for column in range(9):
        output = model(
            inputs["input_ids"][:, column : column + 1],
            attention_mask=inputs["attention_mask"][:, : column + 1],
            token_type_ids=inputs["token_type_ids"][:, column : column + 1],
            past_key_values=cache,
            **encoder,
        )
        cache = output.past_key_values
        real = inputs["attention_mask"][:, column].bool()
        assert scaled_difference(output.logits[real, 0], expected["logits"][real, column]) <= OUTPUT_TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_backends_say_why_not(kind):
    model, inputs, _ = load(f"{kind}-encoder")
    lines = bertie.explain_attention(model, inputs).splitlines()
    objections = {line.split()[0]: line for line in lines}
    assert "chosen" in objections["dense"]
    for name in ("varlen", "grouped"):
        assert "relative positions are added to the score matrix" in objections[name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_beyond_all_known_distances_is_refused(kind):
    model, _, _ = load(f"{kind}-encoder")
    ids = torch.ones(1, 13, dtype=torch.long)
    with pytest.raises(bertie.InputError, match="max_position_embeddings = 12"):
        model(ids, position_ids=torch.zeros_like(ids))


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_again(kind, tmp_path):
    model, inputs, _ = load(f"{kind}-encoder")
    model.save_pretrained(tmp_path)
    again = bertie.BertModel.from_pretrained(tmp_path)
    assert again.config.position_embedding_type == kind
    assert torch.equal(again(**inputs).last_hidden_state, model(**inputs).last_hidden_state)
