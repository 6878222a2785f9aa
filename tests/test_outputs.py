"""Model outputs are mappings, tuples and, for programs that need it, dataclasses, as in transformers."""

import dataclasses
import pickle
from typing import Any

import pytest
import torch
import transformers
from transformers import modeling_outputs
from transformers.models.bert import modeling_bert

import bertie
from bertie import outputs

CLASSES = [
    value
    for name, value in vars(outputs).items()
    if isinstance(value, type) and issubclass(value, bertie.ModelOutput) and name[0] != "_" and name != "ModelOutput"
]


def reference(name: str) -> Any:
    return getattr(modeling_outputs, name, None) or getattr(modeling_bert, name)


@pytest.mark.parametrize("ours", CLASSES, ids=lambda cls: cls.__name__)
def test_fields_are_those_of_the_reference(ours: Any) -> None:
    theirs = reference(ours.__name__)
    assert {field.name for field in dataclasses.fields(ours)} == {field.name for field in dataclasses.fields(theirs)}
    assert tuple(field.name for field in dataclasses.fields(ours)) == ours.field_names


@pytest.mark.parametrize("library", ["bertie", "transformers"])
def test_outputs_are_dataclasses(library: str) -> None:
    cls = bertie.MaskedLMOutput if library == "bertie" else modeling_outputs.MaskedLMOutput
    loss, logits = torch.ones(()), torch.ones(2, 3)
    output = cls(loss=loss, logits=logits)
    assert dataclasses.is_dataclass(output)
    assert [field.name for field in dataclasses.fields(output)] == ["loss", "logits", "hidden_states", "attentions"]
    changed = dataclasses.replace(output, logits=logits + 1, loss=None)
    assert type(changed) is cls
    assert list(changed) == ["logits"]
    assert torch.equal(changed.logits, logits + 1)
    plain = dataclasses.asdict(output)
    assert list(plain) == ["loss", "logits", "hidden_states", "attentions"]
    assert plain["attentions"] is None
    assert torch.equal(plain["logits"], logits)
    again = pickle.loads(pickle.dumps(output))  # noqa: S301
    assert type(again) is cls
    assert torch.equal(again.logits, logits)


def test_what_a_model_returns_can_be_changed_like_the_references() -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    for library in (bertie, transformers):
        model = library.BertForMaskedLM(library.BertConfig(**sizes, intermediate_size=24)).eval()
        output = model(torch.tensor([[1, 2]]))
        assert dataclasses.replace(output, logits=output.logits[:, :1]).logits.shape == (1, 1, 50)


@pytest.mark.parametrize("library", ["bertie", "transformers"])
def test_members_are_given_as_a_mapping_or_as_pairs(library: str) -> None:
    cls = bertie.MaskedLMOutput if library == "bertie" else modeling_outputs.MaskedLMOutput
    logits = torch.ones(2, 3)
    for members in ({"logits": logits}, [("logits", logits)], (pair for pair in [("logits", logits)])):
        output = cls(members)
        assert list(output) == ["logits"]
        assert output.logits is logits
