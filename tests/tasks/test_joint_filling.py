"""Masks filled jointly equal a plain loop over the reference model, one text at a time."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import bertie

TEXTS = [
    "The [MASK] [MASK] of the [MASK] was a [MASK].",
    "She opened the [MASK] and [MASK] into the garden.",
    "He drank a [MASK].",
    "[MASK] [MASK] [MASK] [MASK] [MASK].",
]


@pytest.fixture(scope="module")
def reference(mini: Path) -> Any:
    return transformers.BertForMaskedLM.from_pretrained(mini, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def fill(mini: Path) -> Any:
    return bertie.pipeline("fill-mask", mini, device="cpu")


def probabilities(reference: Any, ids: torch.Tensor, allowed: list[int] | None) -> torch.Tensor:
    with torch.no_grad():
        found = reference(ids[None]).logits[0].softmax(-1)
    if allowed is not None:
        forbidden = torch.ones(found.shape[1], dtype=torch.bool)
        forbidden[allowed] = False
        found[:, forbidden] = 0
    return found


def filled_left_to_right(reference: Any, ids: torch.Tensor, mask: int, allowed: list[int] | None) -> Any:
    masks, scores = (ids == mask).nonzero()[:, 0], []
    for place in masks:
        score, ids[place] = probabilities(reference, ids, allowed)[place].max(-1)
        scores.append(float(score))
    return ids[masks].tolist(), scores


def filled_by_confidence(reference: Any, ids: torch.Tensor, mask: int, allowed: list[int] | None) -> Any:
    """Mask-Predict (Ghazvininejad et al. 2019), section 3, with T = N iterations."""
    masks = (ids == mask).nonzero()[:, 0]
    count = len(masks)
    scores = torch.zeros(count)
    for iteration in range(count):
        hidden = scores.topk(count - iteration, largest=False).indices if iteration else torch.arange(count)
        ids[masks[hidden]] = mask
        scores[hidden], ids[masks[hidden]] = probabilities(reference, ids, allowed)[masks[hidden]].max(-1)
    return ids[masks].tolist(), scores.tolist()


FILLED = {"left-to-right": filled_left_to_right, "confidence": filled_by_confidence}


@pytest.mark.parametrize("targets", [None, ["door", "garden", "man", "walked", "king", "the"]])
@pytest.mark.parametrize("order", FILLED)
def test_words_and_scores_equal_a_plain_loop(fill: Any, reference: Any, order: str, targets: Any) -> None:
    tokenizer = fill.tokenizer
    allowed = None if targets is None else tokenizer.convert_tokens_to_ids(targets)
    for text, answer in zip(TEXTS, fill(TEXTS, jointly=order, targets=targets, top_k=2), strict=True):
        ids = torch.tensor(tokenizer(text)["input_ids"])
        words, scores = FILLED[order](reference, ids, tokenizer.mask_token_id, allowed)
        masks = [answer] if isinstance(answer[0], dict) else answer
        assert [candidates[0]["token"] for candidates in masks] == words
        assert [candidates[0]["score"] for candidates in masks] == pytest.approx(scores, abs=1e-5)
        whole = tokenizer.decode(ids, skip_special_tokens=True)
        assert {candidates[0]["sequence"] for candidates in masks} == {whole}
        assert all(candidates[1]["sequence"] != whole for candidates in masks)


def test_the_orders_differ_but_not_for_a_single_mask(fill: Any) -> None:
    found = [fill(TEXTS[0], jointly=order, top_k=1) for order in FILLED]
    assert found[0] != found[1]
    assert fill(TEXTS[2], jointly="confidence") == fill(TEXTS[2])


def test_pytorch_fills_like_the_engine(fill: Any, mini: Path) -> None:
    model = bertie.BertForMaskedLM.from_pretrained(mini)
    module = bertie.pipeline("fill-mask", model, tokenizer=mini, device="cpu", batch_tokens=20)
    for order in FILLED:
        for one, other in zip(module(TEXTS, jointly=order), fill(TEXTS, jointly=order), strict=True):
            ours, theirs = ([mask] if isinstance(mask, dict) else mask for mask in (one[0], other[0]))
            assert [each["token"] for each in ours] == [each["token"] for each in theirs]


def test_what_cannot_be_is_refused(fill: Any) -> None:
    with pytest.raises(bertie.InputError, match="jointly is 'best'; it must be one of 'left-to-right', 'confidence'"):
        fill(TEXTS, jointly="best")
    with pytest.raises(bertie.InputError, match="texts read whole; leave out jointly or windows"):
        fill(TEXTS, jointly="confidence", windows=True)
    with pytest.raises(bertie.InputTypeError, match="targets is 5; give a word, or a list of words"):
        fill(TEXTS, targets=5)
