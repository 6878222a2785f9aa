"""Features: one array for all texts, batches as slices of it, and equal for tokenizers of other libraries."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from bertie import BertConfig, BertTokenizer, BertTokenizerLegacy, Packed
from bertie.tasks.features import LABELS, Features, Labels
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.text_classification import TextClassification


def packed_of(features: Features) -> Packed:
    return Packed.from_flat(features.ids, features.lengths, features.types)


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
        assert packed_of(features).token_type_ids.tolist() == packed_of(found[0]).token_type_ids.tolist()


def test_a_batch_is_slices(mini: Path) -> None:
    task = NextSentence(tokenizer=BertTokenizer.from_pretrained(mini), config=BertConfig.from_pretrained(mini))
    features = task.encode([("a b", "c"), ("d", "e f g"), ("h", "i")])
    part = features.select([2, 0])
    lists = [features.input_ids[2], features.input_ids[0]]
    expected = Packed.from_lists(lists, [[0] * 3 + [1] * 2, [0] * 4 + [1] * 2])
    packed = packed_of(part)
    for name in ("input_ids", "token_type_ids", "position_ids", "cu_seqlens", "flat_index"):
        assert torch.equal(getattr(packed, name), getattr(expected, name)), name
    assert packed.lengths == tuple(part.lengths) == (5, 6)
    assert packed_of(features.select([])).num_tokens == packed_of(Features.from_lists([], [], [], [])).num_tokens == 0


def counted(owners: list[int] | None, each: str) -> Features:
    """Return three rows of 2, 3 and 1 tokens whose fields are the numbers of their row, token or input."""
    inputs = 3 if owners is None else 2
    sizes = {"input": inputs, "row": 3, "token": 6}
    return Features(
        ids=np.arange(10, 16),
        types=np.array([0, 0, 1, 1, 1, 2]),
        lengths=[2, 3, 1],
        truncated=[7, 8, 9][:inputs],
        empty=[False, True, False][:inputs],
        owners=None if owners is None else np.array(owners),
        owned=np.array([True, False, True, True, False, True]),
        parts=np.array([0, 1, 2]),
        labels={LABELS: Labels(np.arange(100, 100 + sizes[each]), each)},
    )


# selected rows → ids, truncated, empty, labels of the inputs, of the rows, of the tokens
WITHOUT_OWNERS = {
    (2, 0): ([15, 10, 11], [9, 7], [False, False], [102, 100], [102, 100], [105, 100, 101]),
    (1, 1): ([12, 13, 14] * 2, [8, 8], [True, True], [101, 101], [101, 101], [102, 103, 104] * 2),
    (): ([], [], [], [], [], []),
}
WITH_OWNERS = {  # rows 0 and 1 are windows of input 0, row 2 is input 1
    (2, 0): ([15, 10, 11], [8, 7], [True, False], [101, 100], [102, 100], [105, 100, 101]),
    (1, 0): ([12, 13, 14, 10, 11], [7, 7], [False, False], [100, 100], [101, 100], [102, 103, 104, 100, 101]),
    (0, 1, 2): (
        [*range(10, 16)],
        [7, 7, 8],
        [False, False, True],
        [100, 100, 101],
        [100, 101, 102],
        [*range(100, 106)],
    ),
}


@pytest.mark.parametrize("owners", [None, [0, 0, 1]])
@pytest.mark.parametrize(("each", "place"), [("input", 3), ("row", 4), ("token", 5)])
def test_selected_rows_keep_their_entries(owners: list[int] | None, each: str, place: int) -> None:
    features = counted(owners, each)
    for rows, expected in (WITHOUT_OWNERS if owners is None else WITH_OWNERS).items():
        part = features.select(list(rows))
        assert (part.ids.tolist(), part.truncated, part.empty) == expected[:3]
        assert part.labels
        assert (part.labels[LABELS].level, part.targets.tolist()) == (each, expected[place])
        assert part.owners is None  # each row is an input of its own
        assert part.lengths == [features.lengths[row] for row in rows]
        assert part.types is not None
        assert part.types.tolist() == [row for row in rows for _ in range(features.lengths[row])]
        assert part.owned is not None
        assert len(part.owned) == len(part.ids)
        assert part.parts is not None
        assert part.parts.tolist() == list(rows)


@pytest.mark.parametrize("rows", [range(2), range(1, 3), range(2, 3), range(1, 1), range(0, 3, 2)])
def test_selecting_a_range_equals_selecting_a_list(rows: range) -> None:
    features = counted(None, "token")
    part, listed = features.select(rows), features.select(list(rows))
    for name in ("ids", "types", "lengths", "truncated", "empty", "owned", "parts", "targets"):
        np.testing.assert_array_equal(getattr(part, name), getattr(listed, name))


def test_selecting_all_rows_returns_the_features_unless_rows_have_owners() -> None:
    features = counted(None, "input")
    assert features.select([0, 1, 2]) is features
    assert features.select([0, 1]) is not features
    windows = counted([0, 0, 1], "input")
    assert windows.select([0, 1, 2]).num_inputs == 3
    assert windows.num_inputs == 2


def test_several_kinds_of_labels_are_selected_with_their_rows() -> None:
    features = counted([0, 0, 1], "token").with_labels(np.array([5, 6]), name="follows")
    features = features.with_labels(np.array([[0.1], [0.2], [0.3]]), "row", "teacher")
    part = Features.concatenate([features.select_inputs([1]), features.select_inputs([1, 0])])
    found = {name: labels.values.ravel().tolist() for name, labels in part.labels.items()}
    assert found == {
        "labels": [105, 105, *range(100, 105)],
        "follows": [6, 6, 5],
        "teacher": [0.3, 0.3, 0.1, 0.2],
    }
