"""Pipelines with other tokenizers than BERT's fast one: the pure-Python one, another library's."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import bertie
from bertie import BertTokenizer, BertTokenizerLegacy, InputTypeError

TEXT = "Ada Lovelace wrote in Zürich about unbelievably-good machines; e\u0301cole 東京."


@pytest.fixture(scope="module")
def folder(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with the mini model's vocabulary."""
    place = tmp_path_factory.mktemp("tagger")
    tokenizer = BertTokenizer.from_pretrained(mini)
    labels = dict(enumerate(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]))
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    torch.manual_seed(0)
    sizes |= {"vocab_size": len(tokenizer), "initializer_range": 1.0}
    bertie.BertForTokenClassification(bertie.BertConfig(id2label=labels, **sizes)).save_pretrained(place)
    bertie.BertForQuestionAnswering(bertie.BertConfig(**sizes)).save_pretrained(place / "questions")
    tokenizer.save_pretrained(place)
    tokenizer.save_pretrained(place / "questions")
    return place


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average"])
def test_entities_with_the_legacy_tokenizer(strategy: str, folder: Path) -> None:
    options = {"aggregation_strategy": strategy, "ignore_labels": [], "windows": True, "max_length": 12}
    for given in (TEXT, TEXT.split()):
        pipes = (bertie.pipeline("ner", folder, use_fast=fast, **options) for fast in (True, False))
        ((fast,), (legacy,)) = (pipe([given]) for pipe in pipes)
        # their ways to put tokens together are the reference's two: only one cleans up
        assert [{**entity, "word": ""} for entity in legacy] == [{**entity, "word": ""} for entity in fast]
        assert legacy
        assert strategy != "none" or legacy == fast


def test_answers_with_the_legacy_tokenizer(folder: Path) -> None:
    asked = {"question": "Who wrote?", "context": TEXT * 3}
    fast, legacy = (
        bertie.pipeline("question-answering", folder / "questions", use_fast=fast, top_k=5, max_length=30)(asked)
        for fast in (True, False)
    )
    assert legacy == fast
    assert all(asked["context"][one["start"] : one["end"]] == one["answer"] for one in legacy)


def test_evaluation_with_the_legacy_tokenizer(folder: Path) -> None:
    words = TEXT.split()
    # for each word, one of the rows is right
    labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    rows = [{"words": words, "tags": [label] * len(words)} for label in labels]
    figures = [
        bertie.evaluate("token-classification", rows, model=folder, tokenizer=cls.from_pretrained(folder))
        for cls in (BertTokenizer, BertTokenizerLegacy)
    ]
    assert figures[0].metrics == figures[1].metrics
    assert figures[0].metrics["accuracy"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("task", "options"),
    [("token-classification", {}), ("question-answering", {}), ("embed", {"windows": True})],
)
def test_options_that_need_bertie_s_tokenizer_are_refused_at_once(
    task: str, options: dict[str, Any], folder: Path
) -> None:
    foreign = transformers.BertTokenizer.from_pretrained(folder)
    place = folder / "questions" if task == "question-answering" else folder
    with pytest.raises(InputTypeError, match="give bertie's tokenizer"):
        bertie.pipeline(task, place, tokenizer=foreign, **options)
