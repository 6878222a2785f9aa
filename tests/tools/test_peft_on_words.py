"""peft on the words themselves: adapters of embeddings and decoders, which a masked-LM model ties."""

import peft
import pytest
import torch

import bertie

SIZES = {
    "vocab_size": 99,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
IDS = torch.randint(1, 99, (2, 7), generator=torch.Generator().manual_seed(0))
WAYS = {
    "adapted embeddings": {"target_modules": ["query", "word_embeddings"]},
    "a whole head": {"target_modules": ["query"], "modules_to_save": ["cls"]},
    "a whole decoder": {"target_modules": ["query"], "modules_to_save": ["decoder"]},
    "whole embeddings": {"target_modules": ["query"], "modules_to_save": ["word_embeddings"]},
    "some words": {"target_modules": ["query"], "trainable_token_indices": [1, 2]},
    "every layer": {"target_modules": "all-linear"},
}


def base(folder) -> torch.nn.Module:
    return bertie.BertForMaskedLM.from_pretrained(folder)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_saved_and_loaded_again(way, tmp_path):
    torch.manual_seed(0)
    bertie.BertForMaskedLM(bertie.BertConfig(**SIZES)).save_pretrained(tmp_path / "base")
    model = peft.get_peft_model(base(tmp_path / "base"), peft.LoraConfig(**WAYS[way])).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_()
    expected = model(IDS).logits
    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(base(tmp_path / "base"), tmp_path / "adapter").eval()
    again.load_state_dict(again.state_dict())
    torch.testing.assert_close(again(IDS).logits, expected)
