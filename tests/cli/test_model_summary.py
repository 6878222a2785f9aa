"""What ``inspect`` says about each class, without building it, agrees with loading the class."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import bertie
from bertie.checkpoints.parameters import CLASSES
from bertie.cli.inspect import _fit
from bertie.cli.model_summary import describe

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 9,
}


def loaded(name: str, folder: Path) -> dict[str, Any]:
    try:
        _, info = getattr(bertie, name).from_pretrained(
            folder, allow_nan=True, ignore_mismatched_sizes=True, output_loading_info=True
        )
    except bertie.BertieError as error:
        return {"problem": str(error)}
    mismatched = [parameter for parameter, _, _ in info["mismatched_keys"]]
    return {"missing": sorted([*info["missing_keys"], *mismatched]), "unused": len(info["unexpected_keys"])}


def renamed(folder: Path, prefix: str) -> None:
    tensors = {prefix + name: tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")


def check(folder: Path) -> None:
    found = describe(str(folder))["classes"]
    assert list(found) == list(CLASSES)
    for name in CLASSES:
        found[name].pop("head_of", None)  # loading a class does not report it
        assert found[name] == loaded(name, folder), name


@pytest.mark.parametrize("saved", CLASSES)
def test_what_each_class_saves(tmp_path: Path, saved: str) -> None:
    getattr(bertie, saved)(bertie.BertConfig(**SMALL)).save_pretrained(tmp_path)
    check(tmp_path)


@pytest.mark.parametrize("saved", ["BertModel", "BertForMaskedLM", "BertForTokenClassification"])
def test_int8(tmp_path: Path, saved: str) -> None:
    model = getattr(bertie, saved)(bertie.BertConfig(**SMALL)).eval()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    tokenizer = bertie.BertTokenizer({word: index for index, word in enumerate(words)})
    small = bertie.quantize(model, "int8", texts=["a b c", "d e f g h"], tokenizer=tokenizer, min_cosine=0.5)
    small.save_pretrained(tmp_path)
    assert describe(str(tmp_path))["dtype"] == "int8"
    check(tmp_path)


def test_other_classes_another_width_a_wrapper_and_another_quantisation(tmp_path: Path) -> None:
    bertie.BertForSequenceClassification(bertie.BertConfig(**SMALL, num_labels=5)).save_pretrained(tmp_path)
    bertie.BertConfig(**SMALL).save_pretrained(tmp_path)  # without architectures
    check(tmp_path)
    renamed(tmp_path, "module.")
    check(tmp_path)
    bertie.BertConfig(**{**SMALL, "intermediate_size": 20}).save_pretrained(tmp_path)
    check(tmp_path)
    bertie.BertConfig(**SMALL, quantization_config={"method": "other"}).save_pretrained(tmp_path)
    check(tmp_path)


def test_the_head_of_another_class_is_untrained(tmp_path: Path) -> None:
    bertie.BertForSequenceClassification(bertie.BertConfig(**SMALL)).save_pretrained(tmp_path)
    found = describe(str(tmp_path))["classes"]
    assert found["BertForTokenClassification"]["head_of"] == "BertForSequenceClassification"
    assert "head_of" not in found["BertForSequenceClassification"]
    shown = {name: _fit(found[name]) for name in CLASSES}
    assert (
        shown["BertForTokenClassification"]
        == "to be trained first: its head is that of a BertForSequenceClassification"
    )
    assert [name for name in CLASSES if shown[name] == "complete"] == ["BertModel", "BertForSequenceClassification"]
