"""Features: one array for all texts, batches as slices of it, and the same from a foreign tokenizer."""

from pathlib import Path

import pytest
import torch
import transformers

from bertie import BertConfig, BertTokenizer, BertTokenizerLegacy, Packed
from bertie.tasks.features import Features
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.text_classification import TextClassification

TEXTS = ["one two three four five six", "", ("a b c d", "unaffable"), {"text": "a", "text_pair": "b"}, "Привет [MASK]"]


@pytest.mark.parametrize("truncation", [None, True, "longest_first"])
def test_same_features_from_every_tokenizer(truncation: bool | str | None, mini: Path) -> None:
    config = BertConfig.from_pretrained(mini)
    kinds = (BertTokenizer, BertTokenizerLegacy, transformers.BertTokenizer)
    found = []
    for kind in kinds:
        task = TextClassification(
            tokenizer=kind.from_pretrained(mini), config=config, max_length=7, truncation=truncation
        )
        found.append(task.encode(TEXTS))
    for features in found:
        assert features.lengths == [7, 2, 7, 5, 7]
        assert features.truncated == [1, 0, 3, 0, 2]
        assert features.empty == [False, True, False, False, False]
        assert features.input_ids == found[0].input_ids
        assert features.packed().token_type_ids.tolist() == found[0].packed().token_type_ids.tolist()


def test_a_batch_is_slices(mini: Path) -> None:
    task = NextSentence(tokenizer=BertTokenizer.from_pretrained(mini), config=BertConfig.from_pretrained(mini))
    features = task.encode([("a b", "c"), ("d", "e f g"), ("h", "i")])
    part = features.select([2, 0])
    lists = [features.input_ids[2], features.input_ids[0]]
    expected = Packed.from_lists(lists, [[0] * 3 + [1] * 2, [0] * 4 + [1] * 2])
    packed = part.packed()
    for name in ("input_ids", "token_type_ids", "position_ids", "cu_seqlens", "cells"):
        assert torch.equal(getattr(packed, name), getattr(expected, name)), name
    assert packed.lengths == tuple(part.lengths) == (5, 6)
    assert features.select([]).packed().num_tokens == Features.from_lists([], [], [], []).packed().num_tokens == 0
