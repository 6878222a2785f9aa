"""fill-mask, feature-extraction and text-classification answer as transformers' pipelines do, on real weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertie

MASKED = [
    "Paris is the capital of [MASK].",
    "She opened the [MASK] and walked into the garden.",
    "He drank a cup of [MASK] and ate a [MASK].",
]


def same(ours: Any, theirs: Any) -> None:
    """Assert equal structure, strings and ids, and numbers that differ only by rounding."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for name in theirs:
            same(ours[name], theirs[name])
    elif isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-5)
    else:
        assert ours == theirs


@pytest.fixture(scope="module")
def fill(mini: Path) -> tuple[Any, Any]:
    theirs = transformers.pipeline("fill-mask", model=str(mini), device="cpu", dtype=torch.float32)
    return bertie.pipeline("fill-mask", mini, device="cpu"), theirs


@pytest.mark.parametrize(
    ("inputs", "options"),
    [
        (MASKED[0], {}),
        (MASKED[2], {}),
        (MASKED, {"top_k": 3}),
        (MASKED[:1], {}),
        ([MASKED[2]], {"top_k": 1}),
        (MASKED[1], {"targets": ["door", "gate", "window"], "top_k": 2}),
        (MASKED[1], {"targets": "door"}),
        ([*MASKED, "[PAD] The [MASK]."], {"targets": ["door", "antidisestablishment"]}),
        (MASKED[0] + " word" * 600, {"tokenizer_kwargs": {"truncation": True, "max_length": 32}}),
    ],
)
def test_fill_mask(fill: tuple[Any, Any], inputs: Any, options: dict[str, Any]) -> None:
    ours, theirs = (pipe(inputs, **options) for pipe in fill)
    if "tokenizer_kwargs" in options:  # bertie adds how many tokens were cut off
        assert {one.pop("truncated") for one in ours} == {577}
    same(ours, theirs)


def test_feature_extraction(mini: Path, texts: list[str]) -> None:
    theirs = transformers.pipeline("feature-extraction", model=str(mini), device="cpu", dtype=torch.float32)
    ours = bertie.pipeline("feature-extraction", mini, device="cpu", batch_tokens=200)
    same(ours("Hello, world!"), theirs("Hello, world!"))
    some = texts[:3] + texts[4:20]
    for one, other in zip(ours(some), theirs(some), strict=True):
        assert np.abs(np.array(one) - np.array(other)).max() < 2e-5
    tensor = ours("Hello, world!", return_tensors=True)
    assert tensor.shape == theirs("Hello, world!", return_tensors=True).shape
    (long,) = ours(["word " * 600])
    assert np.array(long).shape == (1, 512, 384)


CONFIGS = [
    {"num_labels": 3, "id2label": {0: "bad", 1: "so so", 2: "good"}, "label2id": {"bad": 0, "so so": 1, "good": 2}},
    {"num_labels": 2},
    {"num_labels": 1},
    {"num_labels": 4, "problem_type": "multi_label_classification"},
    {"num_labels": 2, "problem_type": "regression"},
]
PAIR = {"text": "a fine film", "text_pair": "a bad one"}


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_text_classification(mini: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    bertie.BertForSequenceClassification.from_pretrained(mini, **config).save_pretrained(tmp_path)
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path)
    theirs = transformers.pipeline("text-classification", model=str(tmp_path), device="cpu")
    ours = bertie.pipeline("sentiment-analysis", tmp_path, device="cpu")
    for inputs in ("a fine film", ["a fine film", "dull"], ["dull"], PAIR, [PAIR, PAIR]):
        for options in (
            {},
            {"top_k": 1},
            {"top_k": None},
            {"top_k": 2, "function_to_apply": "sigmoid"},
            {"function_to_apply": "none"},
            {"function_to_apply": "softmax"},
            {"truncation": True, "max_length": 16, "padding": True, "batch_size": 8},
        ):
            same(ours(inputs, **options), theirs(inputs, **options))
    theirs = transformers.pipeline("text-classification", model=str(tmp_path), device="cpu", top_k=None)
    ours = bertie.pipeline("text-classification", model=str(tmp_path), device="cpu", top_k=None)
    same(ours("a fine film"), theirs("a fine film"))


def test_an_iterator_gives_an_iterator(tiny: Callable[..., Path]) -> None:
    pipe = bertie.pipeline("text-classification", tiny("BertForSequenceClassification"))
    seen: list[int] = []

    def source() -> Any:
        for number in range(3):
            seen.append(number)
            yield f"text {number}"

    answers = pipe(source())
    assert seen == []
    assert list(answers) == pipe([f"text {number}" for number in range(3)])


def test_next_sentence_returns_the_models_probability(mini: Path) -> None:
    first = "It was a happy relief for us when the door opened and Doctor Livesey came in, on his visit to my father."
    pairs = [(first, '"Oh, doctor," we cried, "what shall we do?"'), (first, "The climate of the country is arid.")]
    pipe = bertie.pipeline("next-sentence", mini)
    reference = transformers.BertForNextSentencePrediction.from_pretrained(mini, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(mini)
    for pair, answer in zip(pairs, pipe(pairs), strict=True):
        with torch.inference_mode():
            expected = reference(**tokenizer(*pair, return_tensors="pt")).logits.softmax(-1)[0, 0].item()
        assert answer == {"is_next": expected >= 0.5, "score": pytest.approx(expected, abs=1e-5)}
    assert pipe(pairs[0]) == pipe({"text": pairs[0][0], "text_pair": pairs[0][1]}) == pipe(pairs)[0]
    assert [answer["is_next"] for answer in pipe(pairs)] == [True, False]
