"""The host launches a batch's work without waiting for any number from the device, and a training step's with one wait.

Tensors without numbers stand for a device: whatever asks for one, or for a shape that depends on one, raises. Where a
wait is needed, all that asks for numbers is counted.
"""

import dataclasses
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

import bertie
from bertie.tasks.operations import operations_on
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
    operations_on(output[0]).total(output[0])


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("mode", MODES)
def test_pooling(mode, skip, without_numbers):
    packed = batch()
    assert pool(torch.empty(packed.num_tokens, 16), packed.lengths, [mode], skip).shape == (3, 16)


def test_what_waits_is_seen(without_numbers):
    with pytest.raises(Exception, match="local_scalar_dense"):
        bool(torch.empty(3).sum() > 0)


ASKS_FOR_NUMBERS = ("tolist", "item", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__", "__index__")


class Waits(TorchFunctionMode):
    """Keeps the name of every call for which the host would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ASKS_FOR_NUMBERS or (name == "where" and len(args) == 1):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("output_logits", [True, False])
@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForTokenClassification", "BertForSequenceClassification"])
def test_a_training_step_waits_once(name, output_logits, without_kernels):
    without_kernels()  # these run on the host, which has nothing to wait for
    config = bertie.BertConfig(**CONFIG, attention_probs_dropout_prob=0.0)
    model = getattr(bertie, name)(config).train()
    packed = bertie.Packed.from_lists([[1, 2, 3], [5, 6], [4]])
    labels = torch.tensor([0, -100, 1] if name == "BertForSequenceClassification" else [0, -100, 1, -100, 0, -100])
    extras = {"output_logits": output_logits} if name == "BertForMaskedLM" else {}
    with Waits() as waits:
        model(packed, labels=labels, **extras).loss.backward()
    assert len(waits.seen) == 1, waits.seen
