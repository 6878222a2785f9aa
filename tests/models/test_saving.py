"""save_pretrained: what is written, and what is refused."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from bertie import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel
from bertie.errors import CheckpointError, ConfigError, InputError

TINY: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}


def test_weights_are_written_once_with_a_matching_config(tmp_path: Path) -> None:
    model = BertForMaskedLM(BertConfig(**TINY)).to(torch.bfloat16)
    before = model.config.to_dict()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert set(tensors) == {name for name, _ in model.named_parameters()}
    assert "cls.predictions.decoder.weight" not in tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architectures"], config["dtype"], config["model_type"]) == (["BertForMaskedLM"], "bfloat16", "bert")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert model.config.to_dict() == before


def test_a_head_of_another_size_than_the_embeddings_is_refused(tmp_path: Path) -> None:
    model = BertForMaskedLM(BertConfig(**TINY))
    model.bert.resize_token_embeddings(60)
    with pytest.raises(ConfigError, match=r"scores 50 tokens but the embeddings have 60; call resize_token_embeddings"):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []
    model.resize_token_embeddings(60)
    model.save_pretrained(tmp_path)
    assert BertForMaskedLM.from_pretrained(tmp_path).get_output_embeddings().weight.shape == (60, 16)


def test_the_config_describes_the_actual_embeddings(tmp_path: Path) -> None:
    model = BertModel(BertConfig(**TINY))
    model.embeddings.token_type_embeddings = torch.nn.Embedding(4, 16)
    model.embeddings.position_embeddings = torch.nn.Embedding(33, 16)
    model.save_pretrained(tmp_path)
    again = BertModel.from_pretrained(tmp_path)
    assert (again.config.type_vocab_size, again.config.max_position_embeddings) == (4, 33)
    assert all(torch.equal(now, then) for now, then in zip(again.parameters(), model.parameters(), strict=True))


def test_shards_and_variants_load_again(tmp_path: Path) -> None:
    model = BertForPreTraining(BertConfig(**TINY))
    model.save_pretrained(tmp_path, max_shard_size="4KB", variant="fp32")
    assert (tmp_path / "model.safetensors.index.fp32.json").is_file()
    again = BertForPreTraining.from_pretrained(tmp_path, variant="fp32")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_state_dict_of_the_caller_is_written(tmp_path: Path) -> None:
    model = BertForMaskedLM(BertConfig(**TINY))
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    model.save_pretrained(tmp_path, state_dict=state)
    tensors = load_file(tmp_path / "model.safetensors")
    assert "cls.predictions.decoder.weight" not in tensors
    assert torch.equal(tensors["cls.predictions.bias"], state["cls.predictions.bias"])


def test_tensors_that_share_memory_or_are_views_are_written(tmp_path: Path) -> None:
    model = BertModel(BertConfig(**TINY | {"num_hidden_layers": 2}))
    model.encoder.layer[1] = model.encoder.layer[0]
    with torch.no_grad():
        model.pooler.dense.weight = torch.nn.Parameter(torch.randn(16, 16).t())
    model.save_pretrained(tmp_path)
    again = BertModel.from_pretrained(tmp_path)
    assert torch.equal(again.pooler.dense.weight, model.pooler.dense.weight)
    assert torch.equal(again.encoder.layer[1].output.dense.weight, model.encoder.layer[0].output.dense.weight)


def test_a_loaded_model_is_saved_over_its_own_file(tmp_path: Path) -> None:
    BertModel(BertConfig(**TINY)).save_pretrained(tmp_path)
    model = BertModel.from_pretrained(tmp_path)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path)
    again = BertModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())


def test_other_processes_write_nothing(tmp_path: Path) -> None:
    BertModel(BertConfig(**TINY)).save_pretrained(tmp_path / "new", is_main_process=False)
    assert not (tmp_path / "new").exists()


def test_refused_saves_write_nothing(tmp_path: Path) -> None:
    model = BertModel(BertConfig(**TINY))
    for arguments, says in [
        ({"push_to_hub": True}, "bertie does not upload"),
        ({"safe_serialization": False}, "bertie writes safetensors"),
        ({"max_shard_size": "five"}, "max_shard_size is 'five'"),
    ]:
        with pytest.raises(InputError, match=says):
            model.save_pretrained(tmp_path / "new", **arguments)
    model.config.hidden_act = math.tanh
    with pytest.raises(ConfigError, match="hidden_act is"):
        model.save_pretrained(tmp_path / "new")
    model.config.hidden_act = "gelu"
    model.config.num_attention_heads = 3
    with pytest.raises(ConfigError, match="not a multiple"):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_where_the_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="a file stands where a folder belongs"):
        BertModel(BertConfig(**TINY)).save_pretrained(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
