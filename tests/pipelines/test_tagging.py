"""token-classification: transformers' answers on real texts, entities by a scheme, windows, and words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from computing import compute, of_module

import bertie
from bertie.data.tag_schemes import find_entities
from bertie.errors import InputError, InputTypeError
from bertie.tasks.features import Outputs

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
LABELS = {
    "bio": BIO,
    "bioes": ["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BIES")],
    "plain": ["NOUN", "VERB", "ADJ-x", "O"],
}
STRATEGIES = ["none", "simple", "first", "average", "max"]
ODD = [
    "Don't stop in Zürich–Genève, U.S.A.: 東京 naïve unbelievably-good \U0001f600 tea.",
    " [UNK] and [MASK]\tin  Paris\x00!",
    "☃☃ unsplittable☃word",
    "",
    "...",
]


def same(ours: Any, theirs: Any) -> None:
    assert [list(one) for one in ours] == [list(one) for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["score"] == pytest.approx(float(other["score"]), abs=1e-5)
        assert {**one, "score": 0} == {**other, "score": 0}


def restless(model: Any) -> Any:
    """Make a random model's labels vary from token to token."""
    with torch.no_grad():
        model.classifier.weight.mul_(40)
    return model


@pytest.fixture(params=LABELS)
def tagger(request: Any, tiny: Callable[..., Path]) -> Path:
    labels = LABELS[request.param]
    config = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    folder = tiny("BertForTokenClassification", num_labels=len(labels), max_position_embeddings=512, **config)
    restless(bertie.BertForTokenClassification.from_pretrained(folder)).save_pretrained(folder)
    return folder


def test_answers_equal_transformers(tagger: Path, texts: list[str]) -> None:
    ours = bertie.pipeline("ner", tagger, device="cpu")
    theirs = transformers.pipeline("ner", model=str(tagger), device="cpu")
    some = [*texts[:3], *texts[4:20], *ODD]
    for strategy in STRATEGIES:
        for options in ({}, {"ignore_labels": []}, {"ignore_labels": ["PER", "NOUN", "B-LOC"]}):
            given = {"aggregation_strategy": strategy, **options}
            found, wanted = ours(some, **given), theirs(some, **given)
            assert len(found) == len(some)
            for text, one, other in zip(some, found, wanted, strict=True):
                if not text:
                    assert one == other == []
                same(one, other)


def test_answers_have_the_layout_of_transformers(tagger: Path) -> None:
    ours = bertie.pipeline("token-classification", tagger, device="cpu", aggregation_strategy="first")
    theirs = transformers.pipeline(
        "token-classification", model=str(tagger), device="cpu", aggregation_strategy="first"
    )
    text, words = "Ada lives in Zürich.", ["Ada", "lives", "in", "Neu-Ulm", "U.S.A.", "unbelievably", "."]
    same(ours(text), theirs(text))
    for one, other in zip(ours([text, "Rome"]), theirs([text, "Rome"]), strict=True):
        same(one, other)
    assert len(ours([text])) == len(theirs([text])) == 1
    for delimiter in (None, "", "--"):
        options = {"is_split_into_words": True, "delimiter": delimiter}
        for inputs in (words, [words]):
            (one,), (other,) = ours(inputs, **options), theirs(inputs, **options)
            same(one, other)
    same(ours([words])[0], theirs(words, is_split_into_words=True)[0])  # a list of lists of words needs no option


def test_answers_are_plain_numbers_whatever_the_form_of_the_input(tagger: Path) -> None:
    pipe = bertie.pipeline("ner", tagger, device="cpu", ignore_labels=[])
    for entry in pipe("Ada lives in Zürich."):
        assert isinstance(entry["score"], float)
        assert isinstance(entry["start"], int)
    assert pipe({"text": "Ada"}) == pipe("Ada")
    assert list(pipe(iter(["Ada", "Rome"]))) == pipe(["Ada", "Rome"]) == pipe(("Ada", "Rome"))


@pytest.fixture
def bio(tiny: Callable[..., Path]) -> Any:
    """A pipeline whose model has at most 64 positions."""
    config = {"id2label": dict(enumerate(BIO)), "label2id": {label: n for n, label in enumerate(BIO)}}
    pipe = of_module("ner", tiny("BertForTokenClassification", num_labels=5, **config), deterministic=True)
    restless(pipe.model)
    return pipe


def test_entities_by_a_scheme_are_slices_and_valid(bio: Any, texts: list[str]) -> None:
    for strategy in ("none", "simple", "first", "average", "max"):
        for text, entries in zip(texts[:40], bio(texts[:40], scheme="BIO", aggregation_strategy=strategy), strict=True):
            last = 0
            for entry in entries:
                assert last <= entry["start"] < entry["end"] <= len(text)
                assert 0 < entry["score"] <= 1
                last = entry["end"]
            if strategy == "none":
                every = bio(text, scheme="BIO", ignore_labels=[])
                tags = [entry["entity"] for entry in every]
                for before, tag in zip(["O", *tags], tags, strict=False):
                    assert tag[0] != "I" or before[1:] == tag[1:]


def test_a_scheme_tags_the_given_words(bio: Any) -> None:
    sentences = [["Ada", "U.S.A.", "Neu-Ulm", "unbelievably", "\x00", "don't"], ["e.g.", "A.B."], [], ["x"]]
    for strategy in ("first", "average", "max"):
        task = bio.codec.with_options(scheme="BIO", aggregation_strategy=strategy)
        features = task.encode(sentences)
        values = compute(task, bio.model, features)
        tags = task.predictions(Outputs(values, features))
        for words, found, expected in zip(sentences, task.decode(Outputs(values, features)), tags, strict=True):
            text = " ".join(words)
            assert [(one["entity_group"], text[one["start"] : one["end"]]) for one in found] == [
                (kind, " ".join(words[first : last + 1])) for kind, first, last in find_entities(expected, "BIO")
            ]


def test_long_texts_are_cut_or_read_in_windows(bio: Any, texts: list[str]) -> None:
    long = max(texts, key=len)
    cut = bio(long, ignore_labels=[])
    assert len(cut) == 62
    assert cut[0]["truncated"] > 100
    whole = bio(long, ignore_labels=[], windows=True)
    assert len(whole) == 62 + cut[0]["truncated"]
    assert "truncated" not in whole[0]
    assert [entry["index"] for entry in whole] == list(range(1, len(whole) + 1))
    assert [entry["word"] for entry in whole] == bio.tokenizer.tokenize(long)
    # tokens that the first window owns are answered by it
    for one, other in zip(cut[:40], whole[:40], strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    assert bio(long, ignore_labels=[], stride=16) == whole
    short = "A short text."
    assert bio([short, long], windows=True)[0] == bio(short)


def test_each_token_is_taken_from_the_window_with_the_most_context(bio: Any) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve"
    options = {"max_length": 8, "overlap": 2, "windows": True, "ignore_labels": []}
    whole = bio(text, **options)
    words = text.split()
    # windows of 6 words that share 2: 0-6, 4-10, 6-12; each owns the words up to the middle of the overlap
    for first, own in ((0, range(5)), (4, range(5, 8)), (6, range(8, 12))):
        part = bio(" ".join(words[first : first + 6]), ignore_labels=[])
        for place in own:
            assert whole[place]["entity"] == part[place - first]["entity"]
            assert whole[place]["score"] == pytest.approx(part[place - first]["score"], abs=1e-5)


def test_inputs_that_are_neither_texts_nor_words_are_refused(bio: Any) -> None:
    with pytest.raises(InputTypeError, match="Input 1 is 7"):
        bio(["a", 7])
    with pytest.raises(InputTypeError, match="Input 1 is a list of words, but input 0 is not"):
        bio(["a", ["b", "c"]])
    with pytest.raises(InputTypeError, match="'text' alone"):
        bio({"text": "a", "text_pair": "b"})
    with pytest.raises(InputError, match="aggregation_strategy is 'frist'"):
        bio("a", aggregation_strategy="frist")
    with pytest.raises(InputError, match="scheme is 'BOI'; it must be one of .* Did you mean 'BIO'"):
        bio("a", scheme="BOI")
    with pytest.raises(InputTypeError, match="ignore_labels"):
        bio("a", ignore_labels="O")
    with pytest.raises(InputError, match="temperature"):
        bio("a", temperature=0)


def test_a_temperature_changes_only_scores(bio: Any) -> None:
    usual, cool = (
        bio("Ada lives in Rome", ignore_labels=[]),
        bio("Ada lives in Rome", ignore_labels=[], temperature=3.0),
    )
    assert [entry["entity"] for entry in usual] == [entry["entity"] for entry in cool]
    assert np.all([one["score"] > other["score"] for one, other in zip(usual, cool, strict=True)])
