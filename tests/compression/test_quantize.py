"""bertie.quantize: close to the original, saved and loaded, and clear about errors."""

import copy
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

import bertie
from bertie import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForSequenceClassification,
    BertLMHeadModel,
    BertModel,
    CheckpointError,
    InputError,
    InputTypeError,
)
from bertie.compression.check import compare
from bertie.compression.observe import cosines, vectors
from bertie.compression.rounding import _product
from bertie.engine import Engine
from bertie.kernels import library
from bertie.layers.int8 import Int8Embedding, Int8Linear
from bertie.layers.linear import Linear
from bertie.models.task_model import TaskModel
from bertie.tasks.features import Features

TEXTS = ["She opened the door.", "It rained all day, and nobody came.", "Why?", "The price of bread rose again " * 5]
WORDS = 120
needs_bytes = pytest.mark.skipif(
    not any(each.multiplies_bytes for each in library.instruction_sets()), reason="without VNNI inputs have 16 bits"
)


class Letters:
    """A tokenizer with a token per character."""

    model_max_length = 64

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        ids = [[2, *(5 + ord(letter) % (WORDS - 5) for letter in text[:62]), 3] for text in texts]
        return {"input_ids": ids, "token_type_ids": [[0] * len(row) for row in ids]}


def small(kind: type[Any] = BertModel, **fields: Any) -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        **fields,
    )
    return kind(config).eval()


def int8(model: Any, **options: Any) -> Any:
    return bertie.quantize(model, "int8", texts=TEXTS, tokenizer=Letters(), **options)


def encoded() -> Features:
    rows = Letters()(TEXTS)
    return Features.from_lists(rows["input_ids"], rows["token_type_ids"], [0] * len(TEXTS), [False] * len(TEXTS))


def padded() -> dict[str, torch.Tensor]:
    rows = [torch.tensor(row) for row in encoded().input_ids]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def without_bits(folder: Path) -> Any:
    """The model of a folder whose declaration lacks the bits of the inputs."""
    config = BertConfig.from_pretrained(folder)
    del config.quantization_config["input_bits"]
    return BertForMaskedLM.from_pretrained(folder, config=config)


class TestQuantize:
    def test_without_kernels_pytorch_computes_it(self, without_kernels: Callable[[], None]) -> None:
        without_kernels()
        model = small()
        vectors_of = int8(model)(**padded()).last_hidden_state, model(**padded()).last_hidden_state
        assert cosines(*(vectors.flatten(1) for vectors in vectors_of)).min() > 0.99

    def test_close_and_the_given_model_untouched(self) -> None:
        model = small()
        before = copy.deepcopy(model.state_dict())
        made = int8(model)
        assert cosines(vectors(made, encoded()), vectors(model, encoded())).min() >= 0.99
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        assert model.config.quantization_config is None
        assert not any(module._forward_pre_hooks for module in model.modules())
        kinds = {type(module) for name, module in made.named_modules() if name.endswith(("dense", "query", "key"))}
        assert kinds == {Int8Linear}
        assert isinstance(made.embeddings.word_embeddings, Int8Embedding)
        assert type(made) is BertModel
        with torch.no_grad():  # and no memory in common
            for parameter in model.parameters():
                parameter.zero_()
        assert made.embeddings.LayerNorm.weight.abs().sum() > 0

    def test_training_mode_comes_back(self) -> None:
        model = small().train()
        int8(model)
        assert model.training

    def test_layers_that_hurt_stay(self, caplog: pytest.LogCaptureFixture) -> None:
        model = small()
        with torch.no_grad():  # one outlier per row makes the rounding of the others coarse
            model.encoder.layer[1].output.dense.weight[:, 0] *= 3000
        with caplog.at_level(logging.INFO, "bertie"):
            made = int8(model, min_cosine=0.99999)
        kept = [name for name, module in made.named_modules() if isinstance(module, nn.Linear)]
        assert kept
        assert kept[0] in caplog.text
        assert "stay in floating point" in caplog.text
        ours, theirs = made.get_submodule(kept[0]).weight, model.get_submodule(kept[0]).weight
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()

    @needs_bytes
    def test_one_layer_that_needs_16_bits(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        model = small(BertForMaskedLM)
        with torch.no_grad():  # one large number in every row has no weight, but widens the range of the others
            model.bert.encoder.layer[1].intermediate.dense.bias[0] = 300
            model.bert.encoder.layer[1].output.dense.weight *= 200
            model.bert.encoder.layer[1].output.dense.weight[:, 0] = 0
        with caplog.at_level(logging.INFO, "bertie"):
            made = int8(model)
        assert "1 of 10 groups of layers round their inputs to 16 bits" in caplog.text
        assert caplog.text.strip().endswith("bert.encoder.layer.1.output.dense")
        assert not any(type(each) in (nn.Linear, Linear) for each in made.bert.modules())
        assert cosines(vectors(made, encoded()), vectors(model, encoded())).min() > 0.998
        made.save_pretrained(tmp_path)
        declared = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
        assert declared == {
            "method": "bertie-int8",
            "version": 1,
            "input_bits": {"bert.encoder.layer.1.output.dense": 16},
        }
        layer = made.bert.encoder.layer[1].output.dense
        assert torch.allclose(layer(torch.eye(96)), _product(layer, torch.eye(96)), rtol=1e-5, atol=1e-6)
        again = BertForMaskedLM.from_pretrained(tmp_path)
        assert "inputs of 16 bits" in again.bert.encoder.layer[1].output.dense.explain()
        assert torch.equal(again(**padded()).logits, made(**padded()).logits)
        rows = encoded()
        expected = made.bert(TaskModel(made).packed(rows)).last_hidden_state.squeeze(0)
        for engine in (Engine.of(made), Engine.open(tmp_path), Engine.open(tmp_path, "BertModel")):
            assert np.abs(engine.hidden_states(rows) - expected.numpy()).max() < 1e-5
            assert "16 bits" in engine.explain()
        less_exact = cosines(vectors(without_bits(tmp_path), encoded()), vectors(model, encoded())).min()
        assert less_exact < 0.99
        Engine.open(tmp_path).save_pretrained(tmp_path / "again")
        assert torch.equal(BertForMaskedLM.from_pretrained(tmp_path / "again")(**padded())[0], made(**padded())[0])

    def test_padded_calls_hidden_states_and_attentions(self) -> None:
        model, batch = small(), padded()
        made = int8(model)
        found, plain = (
            each(**batch, output_hidden_states=True, output_attentions=True).to_tuple() for each in (made, model)
        )
        for ours, theirs in zip(found[2], plain[2], strict=True):
            assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.99
        assert not found[0].requires_grad

    def test_masked_lm_keeps_its_tie(self) -> None:
        model, batch = small(BertForMaskedLM), padded()
        made = int8(model)
        decoder, words = made.cls.predictions.decoder, made.bert.embeddings.word_embeddings
        assert isinstance(decoder, Int8Linear)
        assert decoder.weight is words.weight
        assert decoder.weight_scale is words.weight_scale
        assert decoder.bias is made.cls.predictions.bias
        logits, plain = made(**batch).logits, model(**batch).logits
        assert F.cosine_similarity(logits[3], plain[3], dim=-1).min() > 0.99
        assert "cls.predictions.decoder.weight_scale" not in made.state_dict()

    def test_each_choice_is_a_text(self) -> None:
        model = small(BertForMultipleChoice)
        quantized = int8(model)
        batch = {name: values[None] for name, values in padded().items()}
        with torch.inference_mode():
            assert quantized(**batch).logits.shape == model(**batch).logits.shape == (1, len(TEXTS))
        assert compare(model, quantized, encoded(), rounds=1).agreement is None

    def test_decoder_with_cross_attention(self) -> None:
        model = small(is_decoder=True, add_cross_attention=True)
        made = int8(model)
        # it does not run on texts alone
        assert isinstance(made.encoder.layer[0].crossattention.self.query, nn.Linear)
        states, ids = torch.randn(1, 5, 48), torch.tensor([[2, 9, 3]])
        ours, theirs = (each(ids, encoder_hidden_states=states).last_hidden_state[0] for each in (made, model))
        assert F.cosine_similarity(ours, theirs, dim=-1).min() > 0.99

    def test_a_decoder_is_compared_though_the_engine_of_one_only_writes(self) -> None:
        model = small(BertLMHeadModel, is_decoder=True)
        found = compare(model, int8(model), encoded(), rounds=1)
        assert found.cosine_worst > 0.99
        assert found.rate > 0

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"method": "int4"}, InputError, "method is 'int4'; allowed: 'int8'"),
            ({"min_cosine": 2}, InputError, "min_cosine is 2; allowed: numbers from 0 to 1"),
            ({"texts": []}, InputError, "texts is empty"),
            ({"tokenizer": None}, InputError, "give a tokenizer too"),
            ({"model": nn.Linear(2, 2)}, InputTypeError, "takes a model of bertie, not a Linear"),
        ],
    )
    def test_arguments(self, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
        usual = {"model": small(), "texts": TEXTS, "tokenizer": Letters()}
        with pytest.raises(error, match=message):
            bertie.quantize(**usual | arguments)

    def test_twice(self) -> None:
        with pytest.raises(InputTypeError, match="int8 already"):
            int8(int8(small()))

    def test_adapters(self) -> None:
        class Adapted(nn.Linear):
            pass

        model = small()
        model.encoder.layer[0].attention.self.query = Adapted(48, 48)
        with pytest.raises(InputTypeError, match=r"query' is a Adapted, not a plain nn\.Linear"):
            int8(model)


class TestLife:
    def test_copies_pickles_and_types(self) -> None:
        made, batch = int8(small()), padded()
        expected = made(**batch).last_hidden_state
        for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
            assert torch.equal(twin(**batch).last_hidden_state, expected)
        half = copy.deepcopy(made).to(torch.bfloat16)
        assert half.encoder.layer[0].output.dense.weight.dtype == torch.int8
        ours = half(**batch).last_hidden_state[3].float()
        assert F.cosine_similarity(ours, expected[3], dim=-1).min() > 0.98
        state = made.state_dict()
        again = copy.deepcopy(made)
        again.load_state_dict(state)
        assert torch.equal(again(**batch).last_hidden_state, expected)

    def test_training_and_resizing_are_refused(self) -> None:
        made = int8(small())
        with pytest.raises(InputError, match="int8 model cannot be trained"):
            made.train()
        with pytest.raises(InputTypeError, match="whose size is fixed"):
            made.resize_token_embeddings(WORDS + 1)
        embeds = torch.randn(1, 3, 48, requires_grad=True)
        with pytest.raises(InputError, match="int8 model cannot be trained"):
            made(inputs_embeds=embeds)


class TestFiles:
    @pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM, BertForSequenceClassification])
    def test_round_trip(self, kind: type[Any], tmp_path: Path) -> None:
        made, batch = int8(small(kind)), padded()
        made.save_pretrained(tmp_path)
        again = kind.from_pretrained(tmp_path)
        assert torch.equal(again(**batch)[0], made(**batch)[0])
        assert json.loads((tmp_path / "config.json").read_text())["quantization_config"] == {
            "method": "bertie-int8",
            "version": 1,
        }
        stored = load_file(tmp_path / "model.safetensors")
        name = "encoder.layer.0.output.dense"
        name = name if kind is BertModel else f"bert.{name}"
        assert (stored[f"{name}.weight"].dtype, stored[f"{name}.weight_scale"].shape) == (torch.int8, (48,))
        assert stored[f"{name}.bias"].dtype == torch.float32
        assert not any(parameter.requires_grad for parameter in again.parameters() if parameter.dtype == torch.int8)
        again.save_pretrained(tmp_path / "again")
        assert load_file(tmp_path / "again" / "model.safetensors").keys() == stored.keys()

    def test_layers_in_floating_point_among_them(self, tmp_path: Path) -> None:
        made = int8(small(), min_cosine=1.0)  # nothing is that close
        assert any(isinstance(module, nn.Linear) for module in made.modules())
        made.save_pretrained(tmp_path)
        again = BertModel.from_pretrained(tmp_path)
        assert torch.equal(again(**padded()).last_hidden_state, made(**padded()).last_hidden_state)

    def test_another_class_of_the_same_folder(self, tmp_path: Path) -> None:
        int8(small(BertForMaskedLM)).save_pretrained(tmp_path)
        model = BertForSequenceClassification.from_pretrained(tmp_path)
        assert isinstance(model.bert.encoder.layer[0].intermediate.dense, Int8Linear)
        assert model.classifier.weight.dtype == torch.float32
        model.save_pretrained(tmp_path / "again")
        assert BertModel.from_pretrained(tmp_path, dtype="auto").dtype == torch.float32

    def test_a_floating_point_model_from_such_a_config_declares_nothing(self, tmp_path: Path) -> None:
        int8(small()).save_pretrained(tmp_path)
        BertModel(BertConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path / "plain")
        assert "quantization_config" not in json.loads((tmp_path / "plain" / "config.json").read_text())

    @pytest.mark.parametrize("name", ["AutoModel", "BertModel", "AutoModelForMaskedLM"])
    def test_transformers_refuses_what_would_be_noise_to_it(self, name: str, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        int8(small(BertForMaskedLM)).save_pretrained(tmp_path)
        assert transformers.AutoConfig.from_pretrained(tmp_path).hidden_size == 48
        with pytest.raises(ValueError, match="quantization config"):
            getattr(transformers, name).from_pretrained(tmp_path)

    def test_an_older_declaration_is_read(self, tmp_path: Path) -> None:
        made = int8(small())
        made.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "bertie-int8", "version": 1}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert torch.equal(BertModel.from_pretrained(tmp_path)(**padded())[0], made(**padded())[0])

    def test_ranges_in_older_files_are_not_needed(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        made = int8(small())
        made.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
        save_file(load_file(path) | {"encoder.layer.0.output.dense.input_range": torch.tensor([-0.17, 1.0])}, path)
        assert torch.equal(BertModel.from_pretrained(tmp_path)(**padded())[0], made(**padded())[0])
        rows = encoded().select([0])
        assert np.array_equal(Engine.open(tmp_path).hidden_states(rows), Engine.of(made).hidden_states(rows))
        assert not caplog.text

    @pytest.mark.parametrize(
        ("declared", "message"),
        [
            (None, "quantised weights must be declared in config.json"),
            ({"quant_method": "gptq"}, "is quantised by 'gptq', which bertie does not read"),
            ({"method": "bertie-int8", "version": 2}, "version 2 of 'bertie-int8'; this bertie reads version 1"),
            (
                {"method": "bertie-int8", "version": 1, "input_bits": {"bert.pooler.dense": 4}},
                r"declares the input_bits \{'bert.pooler.dense': 4\}; this bertie reads layer names, each with 8 or 16",
            ),
        ],
    )
    def test_declarations(self, declared: dict[str, Any] | None, message: str, tmp_path: Path) -> None:
        int8(small()).save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config.pop("quantization_config")
        if declared is not None:
            config["quantization_config"] = declared
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError, match=message):
            BertModel.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"encoder.layer.0.output.dense.weight_scale": None}, "but no 'encoder.layer.0.output.dense.weight_scale'"),
            ({"encoder.layer.0.output.dense.weight_scale": torch.ones(7)}, "is \\[7\\] in the file and \\[48\\]"),
            ({"encoder.layer.0.output.dense.weight_scale": torch.full((48,), float("nan"))}, "has NaN or infinite"),
            ({"encoder.layer.0.output.dense.bias": torch.ones(48, dtype=torch.int8)}, "holds int8 where one of"),
            ({"encoder.layer.0.output.LayerNorm.weight": torch.ones(48, dtype=torch.int8)}, "holds int8 where one of"),
        ],
    )
    def test_damage(self, change: dict[str, torch.Tensor | None], message: str, tmp_path: Path) -> None:
        int8(small()).save_pretrained(tmp_path)
        tensors = load_file(tmp_path / "model.safetensors") | change
        save_file({name: each for name, each in tensors.items() if each is not None}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            BertModel.from_pretrained(tmp_path)
