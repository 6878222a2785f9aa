"""from_pretrained: every class from transformers' files, every kind of file, and all that does not fit."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import bertie
from bertie import BertConfig, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification, BertModel, progress
from bertie.errors import CheckpointError, ConfigError, InputError, InputTypeError
from bertie.kernels.cpu import Chip
from bertie.models import loading
from bertie.models.loading import one_device

TINY: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
CLASSES = [
    "BertModel",
    "BertForPreTraining",
    "BertLMHeadModel",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForMultipleChoice",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
]
WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture(autouse=True)
def forget_what_was_said() -> None:
    progress._said.clear()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A tiny BertForPreTraining in a folder."""
    torch.manual_seed(0)
    BertForPreTraining(BertConfig(**TINY)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, change: Any) -> Path:
    """Let ``change`` edit the dict of a folder's tensors and write them back."""
    tensors = load_file(folder / "model.safetensors")
    changed = change(tensors)
    save_file(tensors if changed is None else changed, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_round_trips_with_transformers(tmp_path: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    extra = {"is_decoder": True} if name == "BertLMHeadModel" else {}
    labels = 2 if name == "BertForQuestionAnswering" else 3
    theirs = getattr(transformers, name)(transformers.BertConfig(**TINY, **extra, num_labels=labels))
    theirs.save_pretrained(tmp_path / "theirs")
    ours, info = getattr(bertie, name).from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"]) == (set(), set(), set())
    assert not ours.training
    assert {n for n, _ in ours.named_parameters()} == {n for n, _ in theirs.named_parameters()}
    assert all(torch.equal(p, ours.get_parameter(n)) for n, p in theirs.named_parameters())
    ours.save_pretrained(tmp_path / "ours")
    back, info = getattr(transformers, name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert (set(info["missing_keys"]), set(info["unexpected_keys"])) == (set(), set())
    assert all(torch.equal(p, back.get_parameter(n)) for n, p in theirs.named_parameters())


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_every_kind_of_file(saved: Path, kind: str, sharded: bool) -> None:
    expected = BertForPreTraining.from_pretrained(saved).state_dict()
    tensors = load_file(saved / "model.safetensors")
    os.remove(saved / "model.safetensors")
    plain = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    groups = {plain: tensors}
    if sharded:
        names = sorted(tensors)
        groups = {f"part-{i}.{kind}": {n: tensors[n] for n in names[i::2]} for i in range(2)}
        where = {name: file for file, group in groups.items() for name in group}
        (saved / f"{plain}.index.json").write_text(json.dumps({"weight_map": where}))
    for file, group in groups.items():
        save_file(group, saved / file) if kind == "safetensors" else torch.save(group, saved / file)
    loaded = BertForPreTraining.from_pretrained(saved)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    with pytest.raises(CheckpointError, match="none of the weight files"):
        BertForPreTraining.from_pretrained(saved, use_safetensors=kind != "safetensors")


def test_bare_encoders_load_into_task_models_and_back(saved: Path, tmp_path: Path) -> None:
    bare, info = BertModel.from_pretrained(saved, output_loading_info=True)
    assert info["missing_keys"] == set()
    assert all(name.startswith("cls.") for name in info["unexpected_keys"])
    bare.save_pretrained(tmp_path / "bare")
    assert "embeddings.word_embeddings.weight" in load_file(tmp_path / "bare" / "model.safetensors")
    again, info = BertForPreTraining.from_pretrained(tmp_path / "bare", output_loading_info=True)
    assert all(name.startswith("cls.") for name in info["missing_keys"])
    assert torch.equal(again.get_parameter(WORDS), bare.embeddings.word_embeddings.weight)
    with_prefix = edit(tmp_path / "bare", lambda t: {f"bert.{name}": tensor for name, tensor in t.items()})
    for cls in (BertModel, BertForPreTraining):
        model = cls.from_pretrained(with_prefix)
        assert torch.equal(model.get_input_embeddings().weight, bare.embeddings.word_embeddings.weight)


def test_old_names_and_buffers(saved: Path) -> None:
    expected = BertForPreTraining.from_pretrained(saved).state_dict()

    def age(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
            for name, tensor in tensors.items()
        }
        return old | {
            "bert.embeddings.position_ids": torch.arange(20)[None],
            "cls.predictions.decoder.weight": tensors[WORDS].clone(),
            "cls.predictions.decoder.bias": old.pop("cls.predictions.bias").clone(),
        }

    model, info = BertForPreTraining.from_pretrained(edit(saved, age), output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"]) == (set(), set())
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert model.cls.predictions.decoder.bias is model.cls.predictions.bias


def test_two_names_of_one_tensor_are_refused(saved: Path) -> None:
    name = "bert.embeddings.LayerNorm."
    edit(saved, lambda t: t.update({f"{name}gamma": t[f"{name}weight"].clone()}))
    with pytest.raises(CheckpointError, match="two names of one tensor"):
        BertModel.from_pretrained(saved)


def test_untied_decoders_keep_their_own_weights(tmp_path: Path) -> None:
    model = BertForMaskedLM(BertConfig(**TINY, tie_word_embeddings=False))
    model.save_pretrained(tmp_path)
    again, info = BertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == set()
    assert again.cls.predictions.decoder.weight is not again.bert.embeddings.word_embeddings.weight
    assert torch.equal(again.cls.predictions.decoder.weight, model.cls.predictions.decoder.weight)


def test_missing_heads_are_initialised_and_named_once(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING, "bertie"):
        model, info = BertForSequenceClassification.from_pretrained(saved, num_labels=300, output_loading_info=True)
        BertForSequenceClassification.from_pretrained(saved, num_labels=300)
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert len(caplog.messages) == 1
    assert "'classifier.weight', 'classifier.bias' newly initialised" in caplog.messages[0]
    assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert torch.equal(model.classifier.bias, torch.zeros(300))
    assert torch.equal(model.get_parameter(WORDS), load_file(saved / "model.safetensors")[WORDS])
    torch.manual_seed(1)
    again = BertForSequenceClassification.from_pretrained(saved, num_labels=300)
    assert torch.equal(model.classifier.weight, again.classifier.weight)


def test_only_the_missing_part_of_a_module_is_initialised(saved: Path) -> None:
    weight = load_file(saved / "model.safetensors")["cls.seq_relationship.weight"]
    edit(saved, lambda t: t.__delitem__("cls.seq_relationship.bias"))
    model, info = BertForPreTraining.from_pretrained(saved, output_loading_info=True)
    assert info["missing_keys"] == {"cls.seq_relationship.bias"}
    assert torch.equal(model.cls.seq_relationship.weight, weight)
    assert torch.equal(model.cls.seq_relationship.bias, torch.zeros(2))


def test_a_missing_pooler_is_new_and_may_be_left_out(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit(saved, lambda t: {name: tensor for name, tensor in t.items() if "pooler" not in name})
    assert BertModel.from_pretrained(saved, add_pooling_layer=False).pooler is None
    assert caplog.messages == []
    assert BertModel.from_pretrained(saved).pooler is not None
    assert "'pooler.dense.weight'" in caplog.text


def test_cross_attention_added_to_a_pretrained_encoder_is_new(saved: Path) -> None:
    arguments = {"is_decoder": True, "add_cross_attention": True, "output_loading_info": True}
    model, info = bertie.BertLMHeadModel.from_pretrained(saved, **arguments)
    assert len(info["missing_keys"]) == 2 * 10
    assert all("crossattention" in name for name in info["missing_keys"])
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_loading_a_whole_checkpoint_draws_no_random_numbers(saved: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    BertForPreTraining.from_pretrained(saved)
    assert torch.equal(torch.rand(1), expected)


# Wrapped models.

WRAPPED = ["module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.module.model."]


@pytest.mark.parametrize("prefix", WRAPPED)
@pytest.mark.parametrize("bare", [False, True])
def test_a_wrappers_prefix_is_removed_and_reported_once(
    saved: Path, prefix: str, bare: bool, caplog: pytest.LogCaptureFixture
) -> None:
    edit(saved, lambda t: {prefix + (name.removeprefix("bert.") if bare else name): value for name, value in t.items()})
    model, info = BertForPreTraining.from_pretrained(saved, output_loading_info=True)
    torch.manual_seed(0)
    for name, value in BertForPreTraining(BertConfig(**TINY)).named_parameters():
        torch.testing.assert_close(model.get_parameter(name), value)
    assert not info["missing_keys"]
    BertModel.from_pretrained(saved)
    assert [f"{prefix}" in line and "in a wrapper" in line for line in caplog.messages] == [True]


def test_a_compiled_part_and_other_tensors(saved: Path) -> None:
    def wrapped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        renamed = {"model." + name.replace("bert.", "bert._orig_mod.", 1): value for name, value in tensors.items()}
        return renamed | {"loss.weight": torch.ones(2)}

    _, info = BertForPreTraining.from_pretrained(edit(saved, wrapped), output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"]) == (set(), {"loss.weight"})


def test_a_model_that_names_its_part_like_a_wrapper_keeps_the_name(saved: Path, tmp_path: Path) -> None:
    class Wrapper(bertie.models.pretrained.BertPreTrainedModel):
        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.model = BertModel(config)
            self.post_init()

    Wrapper(BertConfig(**TINY)).save_pretrained(tmp_path / "own")
    _, info = Wrapper.from_pretrained(tmp_path / "own", output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"]) == (set(), set())


def test_a_tensor_with_and_without_a_wrapper_is_refused(saved: Path) -> None:
    edit(saved, lambda t: {**{"module." + name: value for name, value in t.items()}, WORDS: t[WORDS].clone()})
    with pytest.raises(CheckpointError, match="a second time, with a wrapper's prefix"):
        BertModel.from_pretrained(saved)


# Labels.


def labelled(folder: Path, classes: int, **stated: Any) -> Path:
    """A tiny classifier in a folder whose config has other labels than its head."""
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(**TINY, num_labels=classes)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config = {name: value for name, value in config.items() if name not in ("id2label", "label2id")} | stated
    (folder / "config.json").write_text(json.dumps(config))
    return folder


OLD = {"num_labels": 3, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}


@pytest.mark.parametrize("stated", [OLD, {"id2label": {"0": 0}}, {"id2label": {"0": "a", "2": "a"}}, {"num_labels": 0}])
def test_an_encoder_ignores_labels(tmp_path: Path, stated: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    ids = torch.tensor([[2, 3, 4]])
    ours = BertModel.from_pretrained(labelled(tmp_path, 3, **stated))(ids).last_hidden_state
    clean = labelled(tmp_path, 3)
    theirs = transformers.BertModel.from_pretrained(clean)(ids).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stated", [OLD, {"id2label": []}, {}, {"num_labels": 5}, {"id2label": {"0": "a", "2": "a"}}])
def test_a_head_without_names_follows_its_weights_and_says_so(
    tmp_path: Path, stated: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = labelled(tmp_path, 3, **stated)
    model, info = BertForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert (model.num_labels, model.config.num_labels, model.classifier.out_features) == (3, 3, 3)
    assert "3" in caplog.text
    with pytest.raises(CheckpointError, match=r"classifier.weight is \[3, 16\] in the file and \[4, 16\]"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=4)
    names = {0: "x", 1: "y", 2: "z"}
    assert BertForSequenceClassification.from_pretrained(folder, id2label=names).config.id2label == names


def test_names_that_do_not_fit_the_weights_are_refused(tmp_path: Path) -> None:
    folder = labelled(tmp_path, 3, id2label={"0": "yes", "1": "no"})
    with pytest.raises(CheckpointError, match=r"classifier.weight is \[3, 16\] in the file and \[2, 16\]"):
        BertForSequenceClassification.from_pretrained(folder)


# What does not fit.


def test_missing_encoder_tensors_are_listed(saved: Path) -> None:
    edit(saved, lambda t: [t.pop(name) for name in list(t) if "layer.1.output" in name] and None)
    with pytest.raises(
        CheckpointError, match=r"lacks 4 tensors of the encoder \('bert.encoder.layer.1.output.dense.weight'"
    ):
        BertForPreTraining.from_pretrained(saved)
    with pytest.raises(CheckpointError, match="lacks 20 tensors"):
        BertForPreTraining.from_pretrained(saved, num_hidden_layers=3)


def test_encoder_tensors_without_a_place_are_reported(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, info = BertForPreTraining.from_pretrained(saved, num_hidden_layers=1, output_loading_info=True)
    assert len(model.bert.encoder.layer) == 1
    assert len(info["unexpected_keys"]) == 16
    assert "no place for the checkpoint's encoder weights 'bert.encoder.layer.1." in caplog.text


@pytest.mark.parametrize("kind", [RuntimeError, OSError, CheckpointError, bertie.BertieError])
def test_a_wrong_shape_is_several_kinds_of_error(saved: Path, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="does not fit the config"):
        BertForPreTraining.from_pretrained(saved, vocab_size=60)
    transformers = pytest.importorskip("transformers")
    with pytest.raises(RuntimeError):
        transformers.BertForPreTraining.from_pretrained(saved, vocab_size=60)


def test_a_wrong_shape_names_both(saved: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"word_embeddings.weight is \[50, 16\] in the file and \[60, 16\] in the model"
    ):
        BertForPreTraining.from_pretrained(saved, vocab_size=60)
    model, info = BertForPreTraining.from_pretrained(
        saved, vocab_size=60, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert (WORDS, (50, 16), (60, 16)) in info["mismatched_keys"]
    assert model.get_parameter(WORDS).shape == (60, 16)
    assert model.get_parameter(WORDS).std().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinite_weights(saved: Path, value: float) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    edit(saved, lambda t: t[name][3].__setitem__(2, value))
    with pytest.raises(CheckpointError, match=rf"'{name}' has NaN or infinite weights.*allow_nan=True"):
        BertModel.from_pretrained(saved)
    loaded = BertModel.from_pretrained(saved, allow_nan=True).get_parameter(name.removeprefix("bert."))
    assert not loaded.isfinite().all()


def test_large_finite_weights_are_accepted(saved: Path) -> None:
    edit(saved, lambda t: t["bert.encoder.layer.0.output.dense.weight"].__setitem__(..., 3e38))
    assert BertModel.from_pretrained(saved).encoder.layer[0].output.dense.weight[0, 0].item() == pytest.approx(3e38)
    with pytest.raises(CheckpointError, match=r"infinite weights in torch\.float16"):
        BertModel.from_pretrained(saved, dtype="float16")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_integers_where_floats_belong(saved: Path, dtype: torch.dtype) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    edit(saved, lambda t: t.update({name: t[name].to(dtype)}))
    with pytest.raises(CheckpointError, match=rf"'{name}' holds {str(dtype)[6:]} where one of float32"):
        BertModel.from_pretrained(saved)


def rewrite_config(folder: Path, **fields: Any) -> Path:
    """Change keys of config.json; a value of None removes one."""
    config = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(
        json.dumps({name: value for name, value in config.items() if value is not None})
    )
    return folder


def test_another_model_type_is_refused_and_a_missing_one_means_bert(saved: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json.*model_type is 'gpt2'"):
        BertModel.from_pretrained(rewrite_config(saved, model_type="gpt2"))
    assert BertModel.from_pretrained(rewrite_config(saved, model_type=None)).config.hidden_size == 16
    edit(saved, lambda t: {"transformer.h.0.attn.weight": t[WORDS]})
    with pytest.raises(CheckpointError, match=r"is not a BERT: none of its 1 tensors \('transformer.h.0.attn"):
        BertModel.from_pretrained(saved)


def test_quantised_weights_are_refused(saved: Path) -> None:
    rewrite_config(saved, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(CheckpointError, match="is quantised by 'bitsandbytes'"):
        BertModel.from_pretrained(saved)


def test_missing_files(saved: Path, tmp_path: Path) -> None:
    os.remove(saved / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"none of the weight files model\.safetensors"):
        BertModel.from_pretrained(saved)
    os.remove(saved / "config.json")
    with pytest.raises(CheckpointError, match=r"there is no config.json in .*; it is empty"):
        BertModel.from_pretrained(saved)
    with pytest.raises(CheckpointError, match="there is no folder"):
        BertModel.from_pretrained(tmp_path / "absent")


# Arguments.


@pytest.mark.parametrize(
    ("stored", "asked", "got"),
    [
        (torch.float16, None, torch.float32),
        (torch.bfloat16, None, torch.float32),
        (torch.float32, None, torch.float32),
        (torch.float64, None, torch.float64),
        (torch.float16, "auto", torch.float16),
        (torch.float32, "bfloat16", torch.bfloat16),
        (torch.float32, "torch.float16", torch.float16),
        (torch.float16, torch.float64, torch.float64),
    ],
)
def test_dtypes(saved: Path, stored: torch.dtype, asked: Any, got: torch.dtype) -> None:
    edit(saved, lambda t: {name: tensor.to(stored) for name, tensor in t.items()})
    for arguments in ({"dtype": asked}, {"torch_dtype": asked}):
        model = BertForSequenceClassification.from_pretrained(saved, **arguments)
        assert {parameter.dtype for parameter in model.parameters()} == {got}
        assert model.config.dtype is got


@pytest.mark.parametrize(
    ("bf16", "dtype", "warned"),
    [
        (False, torch.bfloat16, True),
        (True, torch.bfloat16, False),
        (True, torch.float16, True),
        (False, torch.float32, False),
    ],
)
def test_a_slow_dtype_is_reported(
    saved: Path, bf16: bool, dtype: torch.dtype, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(loading, "chip", lambda: Chip("a chip", bf16=bf16))
    with caplog.at_level(logging.WARNING, "bertie"):
        BertModel.from_pretrained(saved, dtype=dtype, add_pooling_layer=False)
    assert (f"{dtype} is slower than torch.float32 on a chip" in caplog.text) == warned


@pytest.mark.parametrize("dtype", ["int8", "flot16", torch.int32, 16])
def test_an_invalid_dtype(saved: Path, dtype: Any) -> None:
    with pytest.raises(InputError, match=r"dtype is .*allowed: float32, float16, bfloat16, float64, 'auto' or None"):
        BertModel.from_pretrained(saved, dtype=dtype)


def test_devices() -> None:
    assert one_device(None) == one_device("cpu") == one_device({"": "cpu"}) == torch.device("cpu")
    assert one_device({"bert": "meta", "cls": torch.device("meta")}).type == "meta"
    assert one_device(-1) == torch.device("cpu")
    assert one_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for wrong in ({"bert": "cpu", "cls": 0}, {}, "gpu", 1.5, 99, "cuda:99"):
        with pytest.raises(InputError, match="device"):
            one_device(wrong)
    with pytest.raises(InputError, match="device is 'xpu:99', which this machine or its PyTorch does not have"):
        one_device("xpu:99", "device")
    with pytest.raises(InputError, match="device is 'meta', which holds no values; give 'cpu'"):
        one_device("meta", "device")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_files_dtype_is_kept(saved: Path) -> None:
    edit(saved, lambda t: {name: tensor.half() for name, tensor in t.items()})
    for device_map in ("auto", 0, {"": "cuda"}):
        model = BertForSequenceClassification.from_pretrained(saved, device_map=device_map)
        assert {(p.device.type, p.dtype) for p in model.parameters()} == {("cuda", torch.float16)}


def test_unknown_arguments_name_the_nearest(saved: Path) -> None:
    with pytest.raises(InputTypeError, match=r"no field, 'num_label'\. Did you mean 'num_labels'"):
        BertForSequenceClassification.from_pretrained(saved, num_label=2)
    with pytest.raises(InputTypeError, match=r"'revison'\. Did you mean 'revision'"):
        BertModel.from_pretrained(saved, revison="x")
    with pytest.raises(InputTypeError, match="has no argument, and its config no field, 'add_pooling_layer'"):
        BertForMaskedLM.from_pretrained(saved, add_pooling_layer=True)
    with pytest.raises(InputError, match=r"attn_implementation is 'egar'.*Did you mean 'eager'"):
        BertModel.from_pretrained(saved, attn_implementation="egar")


def test_ignored_arguments_are_accepted(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = BertModel.from_pretrained(
        saved, low_cpu_mem_usage=True, trust_remote_code=True, attn_implementation="eager", device_map="cpu"
    )
    assert model.config._attn_implementation == "eager"
    assert "trust_remote_code is ignored" in caplog.text
    assert model.name_or_path == model.config.name_or_path == str(saved)


def test_a_given_config_is_used_and_not_changed(saved: Path, tmp_path: Path) -> None:
    config = BertConfig(**TINY, layer_norm_eps=0.5)
    before = config.to_dict()
    model = BertForSequenceClassification.from_pretrained(saved, config=config, num_labels=4)
    assert (model.config.layer_norm_eps, model.config.num_labels) == (0.5, 4)
    assert config.to_dict() == before
    (tmp_path / "other").mkdir()
    config.save_pretrained(tmp_path / "other")
    assert BertModel.from_pretrained(saved, config=tmp_path / "other").config.layer_norm_eps == 0.5
    with pytest.raises(InputTypeError, match="config is dict"):
        BertModel.from_pretrained(saved, config={})


def test_variant_and_subfolder(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "outer" / "inner")
    os.rename(
        tmp_path / "outer" / "inner" / "model.safetensors", tmp_path / "outer" / "inner" / "model.fp16.safetensors"
    )
    model = BertModel.from_pretrained(tmp_path / "outer", subfolder="inner", variant="fp16")
    assert model.config.hidden_size == 16


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_a_hub_name_from_the_cache_without_network(
    saved: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was used"))
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("1" * 40)
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("1" * 40)
    if kind == "bin":
        torch.save(load_file(saved / "model.safetensors"), saved / "pytorch_model.bin")
        os.remove(saved / "model.safetensors")
    for path in list(saved.iterdir()):
        os.rename(path, repository / "blobs" / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    model = BertModel.from_pretrained("someone/tiny", cache_dir=tmp_path / "hub", local_files_only=True)
    assert (model.config.hidden_size, model.name_or_path) == (16, "someone/tiny")


# Memory and time.


def test_weights_stay_mapped_and_can_be_trained(saved: Path) -> None:
    before = (saved / "model.safetensors").read_bytes()
    model = BertForPreTraining.from_pretrained(saved)
    if os.path.exists("/proc/self/maps"):
        assert str(saved / "model.safetensors") in Path("/proc/self/maps").read_text()
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    model(input_ids=torch.tensor([[1, 2, 3]])).prediction_logits.sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert (saved / "model.safetensors").read_bytes() == before


def test_real_checkpoints(mini: Path, minilm: Path) -> None:
    model, info = BertForPreTraining.from_pretrained(mini, output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"]) == (set(), set())
    assert model.dtype == torch.float32
    _, info = BertModel.from_pretrained(minilm, output_loading_info=True)
    assert (info["missing_keys"], info["unexpected_keys"]) == (set(), set())


class WithBuffers(BertModel):
    """A user-defined model with a buffer that is saved and one that is not."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.register_buffer("class_weights", torch.ones(3))
        self.register_buffer("steps", torch.arange(4), persistent=False)


def test_buffers_of_a_user_defined_model(saved: Path, tmp_path: Path) -> None:
    model, info = WithBuffers.from_pretrained(saved, dtype="float16", output_loading_info=True)
    assert info["missing_keys"] == set()
    assert (model.class_weights.dtype, model.steps.tolist()) == (torch.float16, [0, 1, 2, 3])
    model.class_weights[1] = 5
    model.save_pretrained(tmp_path / "again")
    again, info = WithBuffers.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert again.class_weights.tolist() == [1, 5, 1]
    assert info["unexpected_keys"] == set()
    edit(tmp_path / "again", lambda t: t.update({"class_weights": torch.ones(2)}))
    with pytest.raises(
        CheckpointError, match=r"the buffer 'class_weights' is \[2\] in the file and \[3\] in the model"
    ):
        WithBuffers.from_pretrained(tmp_path / "again")


class WithParts(BertModel):
    """A user-defined model with parts that BERT lacks."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.full((1,), 3.0))
        self.reader = torch.nn.LSTM(16, 4)
        self.norm = torch.nn.BatchNorm1d(4, track_running_stats=False)


def test_user_defined_parts_are_initialised_by_their_init(saved: Path) -> None:
    model, info = WithParts.from_pretrained(saved, output_loading_info=True)
    assert "reader.weight_hh_l0" in info["missing_keys"]
    assert model.scale.item() == 3
    assert model.norm.weight.tolist() == [1, 1, 1, 1]
    assert model.reader.weight_hh_l0.std() > 0.1
    assert torch.equal(
        model.get_input_embeddings().weight, BertModel.from_pretrained(saved).get_input_embeddings().weight
    )


def test_a_decoder_stored_with_other_values_is_not_tied(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = BertForMaskedLM(BertConfig(**TINY, tie_word_embeddings=False)).eval()
    model.config.tie_word_embeddings = True
    model.save_pretrained(tmp_path)
    with caplog.at_level("WARNING", "bertie"):
        ours = BertForMaskedLM.from_pretrained(tmp_path)
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    assert "they are not tied" in caplog.text
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits)
    torch.testing.assert_close(ours(ids).logits, model(ids).logits)
    ours.save_pretrained(tmp_path / "again")
    torch.testing.assert_close(BertForMaskedLM.from_pretrained(tmp_path / "again")(ids).logits, model(ids).logits)


def test_a_decoder_untied_by_the_config_is_saved(tmp_path: Path) -> None:
    model = BertForMaskedLM(BertConfig(**TINY)).eval()
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path)
    again, info = BertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == set()
    assert torch.equal(again.get_output_embeddings().weight, model.get_input_embeddings().weight)
