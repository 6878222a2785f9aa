"""Pseudo-log-likelihoods equal the definition, computed with the reference one masked copy at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import bertie
from bertie.tasks.pseudo_log_likelihood import PseudoLogLikelihood

TEXTS = [
    "She opened the door and walked into the garden.",
    "She opened the door and walked into the unbelievable embarkation.",
    "",
    "Fisherman",
    "The [MASK] was ☃ mysteriously antediluvian, wasn't it?",
]


@pytest.fixture(scope="module")
def reference(mini: Path) -> Any:
    return transformers.BertForMaskedLM.from_pretrained(mini, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def score(mini: Path) -> Any:
    return bertie.pipeline("score", mini, device="cpu")


def defined(reference: Any, tokenizer: Any, ids: list[int], variant: str) -> list[float]:
    """Return the terms of Salazar et al. 2020, section 2.1; for Kauf & Ivanova 2023 with the word's rest masked."""
    words, found = tokenizer.convert_ids_to_tokens(ids), []
    for place, word in enumerate(words):
        if word in ("[CLS]", "[SEP]", "[MASK]"):
            continue
        masked, stop = list(ids), place + 1
        while variant == "word-l2r" and words[stop].startswith("##"):
            stop += 1
        masked[place:stop] = [tokenizer.mask_token_id] * (stop - place)
        with torch.no_grad():
            logits = reference(torch.tensor([masked])).logits[0, place]
        found.append(float(logits.log_softmax(-1)[ids[place]]))
    return found


@pytest.mark.parametrize("variant", ["original", "word-l2r"])
def test_scores_equal_the_definition(score: Any, reference: Any, variant: str) -> None:
    tokenizer = score.tokenizer
    answers = score(TEXTS, variant=variant, return_tokens=True)
    for text, answer in zip(TEXTS, answers, strict=True):
        ids = tokenizer(text)["input_ids"]
        wanted = defined(reference, tokenizer, ids, variant)
        assert [one["score"] for one in answer["tokens"]] == pytest.approx(wanted, abs=2e-5)
        assert answer["score"] == pytest.approx(sum(wanted), abs=1e-4)
        assert answer["num_tokens"] == len(wanted)
        control = ("[CLS]", "[SEP]", "[MASK]")
        words = [word for word in tokenizer.convert_ids_to_tokens(ids) if word not in control]
        assert [one["token"] for one in answer["tokens"]] == words
    assert answers[2] == {"score": 0, "num_tokens": 0, "tokens": [], "empty": True}


def test_the_rest_of_a_word_gives_it_away(score: Any) -> None:
    """The finding of the second paper: words of several pieces score too high if their other pieces are visible."""
    (original,), (others,) = (score(["embarkation"], variant=variant) for variant in ("original", "word-l2r"))
    assert others["num_tokens"] > 1
    assert others["score"] < original["score"]


def test_batches_change_nothing_and_pytorch_agrees(score: Any, mini: Path) -> None:
    expected = [answer["score"] for answer in score(TEXTS)]
    model = bertie.BertForPreTraining.from_pretrained(mini)
    module = bertie.pipeline("score", model, tokenizer=mini, device="cpu")
    for pipe, options in ((score, {"batch_size": 1}), (module, {}), (module, {"batch_size": 3})):
        assert [answer["score"] for answer in pipe(TEXTS, **options)] == pytest.approx(expected, abs=1e-4)


def test_a_long_text_is_truncated_with_a_warning_or_read_in_windows(score: Any) -> None:
    text = " ".join(TEXTS[:2])
    whole = score(text)["num_tokens"]
    cut = score(text, max_length=12)
    assert (cut["num_tokens"], cut["truncated"]) == (10, whole - 10)
    in_windows = score(text, max_length=12, windows=True, return_tokens=True)
    assert in_windows["num_tokens"] == whole
    assert [one["token"] for one in in_windows["tokens"]] == [
        one["token"] for one in score(text, return_tokens=True)["tokens"]
    ]


def test_copies_have_no_padding_and_the_head_sees_one_token_each(mini: Path) -> None:
    tokenizer = bertie.BertTokenizer.from_pretrained(mini)
    task = PseudoLogLikelihood(tokenizer=tokenizer, config=bertie.BertConfig.from_pretrained(mini))
    features = task.encode(["He left.", "Why?"])
    assert features.lengths == [5, 5, 5, 4, 4]
    part = features.select([3, 0])
    mask = tokenizer.mask_token_id
    assert [row.tolist() for row in part.by_row(part.ids == mask)] == [[0, 1, 0, 0], [0, 1, 0, 0, 0]]
    assert np.flatnonzero(part.targets != -100).tolist() == [1, 5]
    assert features.ids.max() != mask  # the texts themselves are unchanged


def test_what_cannot_be_is_refused(score: Any) -> None:
    with pytest.raises(bertie.InputError, match="variant is 'words'; it must be one of 'original', 'word-l2r'"):
        score("a", variant="words")
