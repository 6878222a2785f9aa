"""Zero-shot classification: by entailment equal to the reference, by similarity equal to the definition."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

import bertie
from bertie.errors import BertieError, CheckpointError

TEXTS = [
    "The striker scored twice in the final.",
    "Whisk the eggs with sugar until they are pale.",
    "The senate passed the bill after a long night. " * 8,
]
LABELS = ["sport", "politics", "a dish that is cooked"]
NAMES = {
    "contradiction first": ["contradiction", "neutral", "entailment"],
    "entailment first": ["entailment", "not_entailment"],
    "in capitals": ["CONTRADICTION", "ENTAILMENT", "NEUTRAL"],
    "without names": ["LABEL_0", "LABEL_1", "LABEL_2"],
}


def folder_of(names: list[str], minilm: Path, folder: Path) -> Path:
    transformers.set_seed(1)
    config = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        initializer_range=0.3,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast.from_pretrained(minilm)
    tokenizer.model_max_length = 40
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("options", [{}, {"multi_label": True}, {"hypothesis_template": "It is about {}!"}])
@pytest.mark.parametrize("labels", [LABELS, "sport", "sport, politics"])
def test_entailment_equals_the_reference(
    names: list[str], options: dict[str, Any], labels: Any, minilm: Path, tmp_path: Path
) -> None:
    folder = folder_of(names, minilm, tmp_path)
    reference = transformers.pipeline("zero-shot-classification", str(folder), device="cpu")
    model = bertie.BertForSequenceClassification.from_pretrained(folder).eval()
    for source, given in ((folder, {}), (model, {"tokenizer": folder, "device": "cpu"})):
        pipe = bertie.pipeline("zero-shot-classification", source, **given)
        found, wanted = pipe(TEXTS, labels, **options), reference(TEXTS, labels, **options)
        for mine, theirs in zip(found, wanted, strict=True):
            assert (mine["sequence"], mine["labels"]) == (theirs["sequence"], theirs["labels"])
            assert mine["scores"] == pytest.approx(theirs["scores"], rel=1e-4, abs=1e-6)
        assert [one.get("truncated", 0) > 0 for one in found] == [False, False, True]
        assert pipe(TEXTS[0], labels, **options)["labels"] == found[0]["labels"]


def test_windows_read_the_whole_text(minilm: Path, tmp_path: Path) -> None:
    folder = folder_of(NAMES["contradiction first"], minilm, tmp_path)
    pipe = bertie.pipeline("zero-shot-classification", folder, candidate_labels=LABELS)
    cut, whole = pipe(TEXTS[2]), pipe(TEXTS[2], windows=True)
    assert cut["truncated"] > 0
    assert "truncated" not in whole
    assert sum(whole["scores"]) == pytest.approx(1)


@pytest.mark.parametrize("options", [{}, {"multi_label": True}])
def test_embeddings_are_used_if_the_model_has_no_head(minilm: Path, options: dict[str, Any]) -> None:
    pipe, embed = bertie.pipeline("zero-shot-classification", minilm), bertie.pipeline("embed", minilm)
    found = pipe(TEXTS, LABELS, hypothesis_template="A text about {}", **options)
    cosines = embed(TEXTS) @ embed([f"A text about {label}" for label in LABELS]).T
    chances = np.exp(20 * cosines) / np.exp(20 * cosines).sum(1, keepdims=True)
    for answer, row in zip(found, cosines if options else chances, strict=True):
        assert dict(zip(answer["labels"], answer["scores"], strict=True)) == pytest.approx(
            dict(zip(LABELS, row.tolist(), strict=True)), abs=1e-5
        )
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
    assert [answer["labels"][0] for answer in found] == ["sport", "a dish that is cooked", "politics"]
    assert pipe.rows_of(TEXTS) is TEXTS
    assert pipe([], LABELS) == []


def test_the_answered_text_has_no_prompt(minilm: Path) -> None:
    pipe = bertie.pipeline("zero-shot-similarity", minilm, candidate_labels=LABELS, prompt="query: ")
    assert pipe(TEXTS[0])["sequence"] == TEXTS[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "There is no label to choose from"),
        ({"candidate_labels": []}, "There is no label to choose from"),
        ({"candidate_labels": " , "}, "There is no label to choose from"),
        ({"candidate_labels": ["a", ""]}, "The candidate label '' is not a text"),
        ({"candidate_labels": [1]}, "The candidate label 1 is not a text"),
        ({"candidate_labels": {"a": 1}}, "candidate_labels is .*; it must be a list of str"),
        ({"candidate_labels": ["a"], "hypothesis_template": "no place"}, "it needs {} where the label goes"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{0} {1}"}, "it needs {} where the label goes"),
        ({"candidate_labels": ["a"], "hypothesis_template": None}, "it needs {} where the label goes"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{.name}"}, "it needs {} where the label goes"),
        ({"candidate_labels": ["a"], "hypothesis_template": "{[name]}"}, "it needs {} where the label goes"),
        ({"candidate_labels": ["a"], "multi_label": "no"}, "multi_label is 'no'; it must be True or False"),
    ],
)
def test_bad_labels_and_templates(given: dict[str, Any], message: str, minilm: Path) -> None:
    with pytest.raises(BertieError, match=message):
        bertie.pipeline("zero-shot-classification", minilm)("a", **given)


def test_pairs_are_refused(minilm: Path) -> None:
    with pytest.raises(BertieError, match="the labels take the place of a second text"):
        bertie.pipeline("zero-shot-classification", minilm)([("a", "b")], ["c"])


def test_models_without_entailment_or_embeddings_are_refused(minilm: Path, tmp_path: Path) -> None:
    films = folder_of(["bad", "good"], minilm, tmp_path / "films")
    with pytest.raises(
        BertieError, match="labels are 'bad', 'good': it was not trained for natural-language inference"
    ):
        bertie.pipeline("zero-shot-classification", films)("a", ["b"])
    words = tmp_path / "words"
    transformers.BertForMaskedLM(transformers.BertConfig.from_pretrained(films)).save_pretrained(words)
    with pytest.raises(CheckpointError, match="holds a BertForMaskedLM"):
        bertie.pipeline("zero-shot-classification", words)("a", ["b"])
