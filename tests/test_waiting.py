"""The host launches a batch's work without waiting for any number from the device.

Tensors without numbers stand for a device: whatever asks for one, or for a shape that depends on one, raises.
"""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import bertie
from bertie.pipelines.finite import looks_finite
from bertie.tasks.pooling import MODES, pool

CONFIG = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
CLASSES = (
    "BertModel",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForNextSentencePrediction",
)


@pytest.fixture
def without_numbers():
    with FakeTensorMode():
        yield


def batch() -> bertie.Packed:
    """Return a batch whose tensors hold no numbers, but of which the host knows what it packed."""
    # longest first, so that attention need not reorder it, and remembers no tensor of this test
    packed = bertie.Packed.from_lists([[1, 2, 3], [5, 6], [4]])
    tensors = {
        name: torch.empty(value.shape, dtype=value.dtype)
        for name, value in ((field.name, getattr(packed, field.name)) for field in dataclasses.fields(packed))
        if isinstance(value, torch.Tensor)
    }
    return dataclasses.replace(packed, **tensors)


@pytest.mark.parametrize("name", CLASSES)
def test_a_packed_batch_goes_through_a_model(name, without_numbers):
    model = getattr(bertie, name)(bertie.BertConfig(**CONFIG)).eval()
    with torch.no_grad():
        output = model(batch())
    looks_finite(output[0])


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_pooling(mode, skip, without_numbers):
    packed = batch()
    assert pool(torch.empty(packed.num_tokens, 16), packed, [mode], skip).shape == (3, 16)


def test_what_waits_is_seen(without_numbers):
    with pytest.raises(Exception, match="local_scalar_dense"):
        bool(torch.empty(3).sum() > 0)
