"""The collators of transformers and `datasets.map` work with our tokenizers as with their own (decision 21)."""

from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import transformers

import bertie

TEXTS = ["Hello, my dog is cute", "a", "What a long day it was, said the unaffable one"]
BOTH = pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerLegacy"])


def both(name: str, mini: Path) -> list[Any]:
    return [getattr(module, name).from_pretrained(mini) for module in (bertie, transformers)]


def same(ours: Any, theirs: Any) -> None:
    assert set(ours) == set(theirs)
    for key in ours:
        assert torch.equal(torch.as_tensor(ours[key]), torch.as_tensor(theirs[key])), key


@BOTH
def test_collator_with_padding(name: str, mini: Path) -> None:
    batches = []
    for tokenizer in both(name, mini):
        collate = transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
        batches.append(collate([{**tokenizer(text), "label": i} for i, text in enumerate(TEXTS)]))
    same(*batches)
    assert batches[0]["input_ids"].shape[1] % 8 == 0


@BOTH
@pytest.mark.parametrize("masked", [True, False])
def test_collator_for_language_modeling(name: str, masked: bool, mini: Path) -> None:
    batches = []
    for tokenizer in both(name, mini):
        collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=masked, seed=3 if masked else None)
        batches.append(collate([tokenizer(text, return_special_tokens_mask=masked) for text in TEXTS]))
    same(*batches)
    assert batches[0]["labels"].shape == batches[0]["input_ids"].shape


@BOTH
def test_collator_for_token_classification(name: str, mini: Path) -> None:
    batches = []
    for tokenizer in both(name, mini):
        collate = transformers.DataCollatorForTokenClassification(tokenizer)
        encodings = [tokenizer(text) for text in TEXTS]
        batches.append(collate([{**e, "labels": [1] * len(e["input_ids"])} for e in encodings]))
    same(*batches)
    assert batches[0]["labels"][1].tolist().count(-100) > 0


@BOTH
def test_collator_for_multiple_choice(name: str, mini: Path) -> None:
    batches = []
    for tokenizer in both(name, mini):
        collate = transformers.DataCollatorForMultipleChoice(tokenizer)
        batches.append(collate([{**tokenizer(TEXTS), "label": 1}, {**tokenizer(TEXTS[::-1]), "label": 0}]))
    same(*batches)
    assert batches[0]["input_ids"].shape[:2] == (2, 3)


def test_collator_with_flattening(mini: Path) -> None:
    batches = []
    for tokenizer in both("BertTokenizer", mini):
        collate = transformers.DataCollatorWithFlattening(return_tensors="pt")
        batches.append(collate([{"input_ids": ids} for ids in tokenizer(TEXTS)["input_ids"]]))
    same(*batches)


@BOTH
def test_datasets_map(name: str, mini: Path, tmp_path: Path) -> None:
    ours, theirs = both(name, mini)
    dataset = datasets.Dataset.from_dict({"text": TEXTS * 5})
    mapped = [
        dataset.map(lambda rows, t=tokenizer: t(rows["text"], truncation=True, max_length=8), batched=True)
        for tokenizer in (ours, theirs)
    ]
    assert mapped[0]["input_ids"][:] == mapped[1]["input_ids"][:]
    fingerprint = datasets.fingerprint.Hasher.hash(ours)
    ours("words that were not seen before")
    assert datasets.fingerprint.Hasher.hash(ours) == fingerprint, "a map would not find its cached result again"
    formatted = mapped[0].with_format("torch", columns=["input_ids", "attention_mask"])
    batch = ours.pad([formatted[0], formatted[1]])
    assert batch["input_ids"].shape == batch["attention_mask"].shape


@BOTH
@pytest.mark.parametrize("kind", [None, "pt", "np"])
def test_pad(name: str, kind: str | None, mini: Path) -> None:
    for side in ("right", "left"):
        results = []
        for tokenizer in both(name, mini):
            rows = [tokenizer(text, return_special_tokens_mask=True) for text in TEXTS]
            options = {"padding_side": side, "pad_to_multiple_of": 4}
            results.append(
                [
                    tokenizer.pad(rows, return_tensors="np", **options),
                    tokenizer.pad({k: [row[k] for row in rows] for k in rows[0]}, padding="max_length", max_length=40),
                    tokenizer.pad(tokenizer(TEXTS[0], return_tensors=kind), padding="max_length", max_length=16),
                    tokenizer.pad({"input_ids": [[1, 2], [3]]}, return_attention_mask=False, return_tensors=kind),
                ]
            )
        for ours, theirs in zip(*results, strict=True):
            same(ours, theirs)
            assert all(type(ours[key]) is type(theirs[key]) for key in ours)


def test_a_mask_of_more_dimensions(mini: Path) -> None:
    """It is accepted as long as nothing has to be padded."""
    features = [{"input_ids": [101, 7, 102], "attention_mask": torch.ones(1, 3, 3)}] * 2
    ours, theirs = both("BertTokenizer", mini)
    for tokenizer in (ours, theirs):
        assert tokenizer.pad(features, return_tensors="pt")["attention_mask"].shape == (2, 1, 3, 3)
    with pytest.raises(bertie.InputError, match="make no tensor"):
        ours.pad([*features, {**features[0], "input_ids": [101] * 4}], return_tensors="pt")
