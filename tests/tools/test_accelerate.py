"""accelerate prepares our models like any module: the wrapper trains, gathers outputs, saves and loads."""

import accelerate
import pytest
import torch
import transformers
from small import TINY
from torch.utils.data import DataLoader

import bertie


@pytest.fixture
def accelerator():
    accelerate.state.AcceleratorState._reset_state(True)
    yield accelerate.Accelerator(cpu=True)
    accelerate.state.AcceleratorState._reset_state(True)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return bertie.BertForSequenceClassification(bertie.BertConfig(**TINY))


def test_a_prepared_model_trains(accelerator, model, encoded, tokenizer):
    rows = encoded.remove_columns("text").rename_column("label", "labels")
    loader = DataLoader(rows, batch_size=16, collate_fn=transformers.DataCollatorWithPadding(tokenizer))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    prepared, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    losses = []
    for batch in [next(iter(loader))] * 4:
        output = prepared(**batch)
        gathered = accelerator.gather_for_metrics(output.logits)
        assert gathered.shape == (16, 2)
        accelerator.backward(output.loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output.loss.item())
    assert losses[-1] < losses[0]
    assert type(accelerator.unwrap_model(prepared)) is bertie.BertForSequenceClassification


def test_autocast_answers_in_float32_and_keeps_the_class(model):
    """accelerate wraps ``forward`` for mixed precision and converts outputs by building them anew from pairs."""
    accelerate.state.AcceleratorState._reset_state(True)
    prepared = accelerate.Accelerator(cpu=True, mixed_precision="bf16").prepare(model)
    ids = torch.tensor([[101, 2023, 3185, 102]])
    output = prepared(input_ids=ids, labels=torch.tensor([1]))
    accelerate.state.AcceleratorState._reset_state(True)
    assert type(output) is bertie.SequenceClassifierOutput
    assert output.logits.dtype == torch.float32
    output.loss.backward()
    with pytest.raises(TypeError, match="Did you mean 'input_ids'"):
        prepared(inptu_ids=ids)


def test_state_is_saved_and_loaded(accelerator, tmp_path):
    torch.manual_seed(0)
    model = accelerator.prepare(bertie.BertForMaskedLM(bertie.BertConfig(**TINY)))
    before = [parameter.clone() for parameter in model.parameters()]
    accelerator.save_state(str(tmp_path))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    accelerator.load_state(str(tmp_path))
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_a_model_is_made_without_memory_and_dispatched(model, tmp_path):
    model.save_pretrained(tmp_path)
    with accelerate.init_empty_weights():
        empty = bertie.BertForSequenceClassification(model.config)
    assert empty.device.type == "meta"
    loaded = accelerate.load_checkpoint_and_dispatch(empty, str(tmp_path / "model.safetensors"), device_map={"": "cpu"})
    ids = torch.tensor([[101, 2023, 3185, 102]])
    torch.testing.assert_close(loaded.eval()(ids).logits, model.eval()(ids).logits)
