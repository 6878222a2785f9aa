"""PyTorch's own tools around a model: workers, data parallelism, autocast, functional calls, tracing, quantising."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ddp_learning import IDS, MASK, SIZES
from torch.utils.data import DataLoader

import bertie


@pytest.fixture
def model():
    torch.manual_seed(0)
    return bertie.BertForMaskedLM(bertie.BertConfig(**SIZES))


def test_packed_batches_come_from_workers_and_are_copied(model):
    loader = DataLoader([[1, 2, 3], [4], [5, 6]], batch_size=2, num_workers=1, collate_fn=bertie.Packed.from_lists)
    assert [model(batch).logits.shape for batch in loader] == [(4, 99), (2, 99)]
    packed = bertie.Packed.from_lists([[1, 2, 3], [4]])
    for twin in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):  # noqa: S301
        assert torch.equal(model.eval()(twin).logits, model(packed).logits)


def test_distributed_data_parallel(tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("ddp_learning.py")), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    padded, packed = result["losses"]
    assert padded == pytest.approx(packed, rel=1e-5)
    assert result["shapes"] == [[11, 16]] * 4  # two layers, twice: padding is not computed
    assert result["observers"] == []


@pytest.mark.parametrize("kind", ["absolute", "relative_key_query"])
def test_autocast_trains_in_half_precision(kind):
    model = bertie.BertForMaskedLM(bertie.BertConfig(**SIZES, position_embedding_type=kind))
    full = model(IDS, attention_mask=MASK, labels=IDS)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(IDS, attention_mask=MASK, labels=IDS, output_attentions=True)
    assert half.logits.dtype == half.attentions[0].dtype == torch.bfloat16
    half.loss.backward()
    assert all(each.grad.dtype == torch.float32 for each in model.parameters() if each.grad is not None)
    torch.testing.assert_close(half.loss.float(), full.loss, atol=2e-2, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains(model, dtype):
    loss = model.to(dtype)(IDS, attention_mask=MASK, labels=IDS).loss
    loss.backward()
    assert loss.isfinite()
    assert all(each.grad.dtype == dtype and each.grad.isfinite().all() for each in model.parameters())


def test_functional_call_and_grad(model):
    parameters = dict(model.named_parameters())
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": IDS}
    gradients = torch.func.grad(lambda given: torch.func.functional_call(model, given, (), batch).loss)(parameters)
    model(**batch).loss.backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=name)


def test_parametrised_weights_are_used(model):
    query = model.eval().bert.encoder.layer[0].attention.self.query
    before = model(IDS).logits
    torch.nn.utils.parametrizations.weight_norm(query)
    torch.testing.assert_close(model(IDS).logits, before, atol=1e-6, rtol=0)
    with torch.no_grad():
        query.parametrizations.weight.original0.mul_(3)
    assert not torch.allclose(model(IDS).logits, before)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_serves_other_batches():
    """The padding of the batch that was traced must not become part of the trace."""
    model = bertie.BertModel(bertie.BertConfig(**SIZES, return_dict=False)).eval()
    traced = torch.jit.trace(model, (IDS, MASK))
    for mask in (MASK, MASK.flip(1), torch.ones(3, 5, dtype=torch.long)):
        ids = torch.randint(1, 99, mask.shape)
        for ours, expected in zip(traced(ids, mask), model(ids, mask), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_a_batch_seen_in_inference_mode_can_be_trained_on_later(model):
    with torch.inference_mode():
        model(IDS, MASK)
    model(IDS, MASK, labels=IDS).loss.backward()
    assert model.bert.encoder.layer[0].attention.self.query.weight.grad.any()


def test_the_loss_of_many_tokens_fits_into_float16(model):
    model.half()
    ids = torch.randint(1, 99, (700, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(ids, labels=ids)
        expected = torch.nn.functional.cross_entropy(output.logits.float().flatten(0, 1), ids.flatten())
    torch.testing.assert_close(output.loss.float(), expected, rtol=2e-3, atol=0)
