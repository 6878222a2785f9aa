"""peft's LoRA on our models as on the reference's: trained, saved with the head, loaded, merged (decision 20)."""

import peft
import pytest
import torch
import transformers
from torch import Tensor

import bertie

SIZES = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "num_labels": 3,
    "initializer_range": 0.3,  # with small weights attention is flat, and some gradients round to nothing
}
IDS = torch.randint(1, 99, (2, 7), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
CASES = {
    "BertForSequenceClassification": ("SEQ_CLS", torch.tensor([0, 2])),
    "BertForTokenClassification": ("TOKEN_CLS", torch.tensor([[0, 1, 2, 0, 1, 2, 0], [2, 1, 0, 2, -100, -100, -100]])),
}
pytestmark = [
    pytest.mark.parametrize("name", CASES),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
]


@pytest.fixture
def folder(name, tmp_path):
    torch.manual_seed(0)
    getattr(bertie, name)(bertie.BertConfig(**SIZES)).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapted(name: str, folder) -> peft.PeftModel:
    model = getattr(bertie, name).from_pretrained(folder)
    torch.manual_seed(0)
    return peft.get_peft_model(
        model, peft.LoraConfig(task_type=CASES[name][0], target_modules=["query", "value"], r=4, lora_dropout=0.1)
    )


def trained(model: peft.PeftModel, labels: Tensor, steps: int = 3) -> peft.PeftModel:
    model.train()
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1.0)
    for _ in range(steps):
        model(input_ids=IDS, attention_mask=MASK, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def logits(model: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK).logits


def test_training_changes_adapters_and_head_only(name, folder):
    model = adapted(name, folder)
    before = {path: each.clone() for path, each in model.named_parameters()}
    trained(model, CASES[name][1])
    changed = {path for path, each in model.named_parameters() if not torch.equal(each, before[path])}
    adapters = {path for path in before if "lora_" in path}
    assert len(adapters) == 2 * 2 * 2  # layers, query and value, A and B
    assert changed == adapters | {path for path in before if "classifier.modules_to_save" in path}


def test_checkpointing_trains_adapters_all_the_same(name, folder):
    model = adapted(name, folder)
    model.gradient_checkpointing_enable()
    trained(model, CASES[name][1], steps=1)
    assert all(each.grad is None for path, each in model.named_parameters() if not each.requires_grad)
    assert any((each != 0).any() for path, each in model.named_parameters() if "lora_B" in path)


def test_saved_with_its_head_and_loaded_into_either_library(name, folder, tmp_path):
    model = trained(adapted(name, folder), CASES[name][1])
    model.save_pretrained(tmp_path / "adapter")
    ours = peft.PeftModel.from_pretrained(getattr(bertie, name).from_pretrained(folder), tmp_path / "adapter").eval()
    theirs = getattr(transformers, name).from_pretrained(folder)
    theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    assert torch.equal(logits(ours), logits(model))
    real = MASK.bool() if name == "BertForTokenClassification" else slice(None)
    torch.testing.assert_close(logits(theirs)[real], logits(model)[real], atol=1e-5, rtol=0)


def test_merged_it_is_a_plain_model_again(name, folder, tmp_path):
    model = trained(adapted(name, folder), CASES[name][1])
    expected = logits(model)
    merged = model.merge_and_unload()
    assert type(merged) is getattr(bertie, name)
    torch.testing.assert_close(logits(merged), expected, atol=1e-5, rtol=0)
    merged.save_pretrained(tmp_path / "merged")
    again = getattr(bertie, name).from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(logits(again), expected, atol=1e-5, rtol=0)
    assert not any("lora" in path for path, _ in again.named_parameters())
