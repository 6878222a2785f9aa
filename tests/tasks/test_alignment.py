"""The alignment of words and pieces, on literal cases and on the tokenizer's pieces of unusual words."""

from pathlib import Path

import numpy as np
import pytest

import bertie
from bertie.errors import InputError
from bertie.tasks.alignment import Alignment, joined_offsets


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> bertie.BertTokenizer:
    return bertie.BertTokenizer.from_pretrained(minilm)


def test_labels_on_first_or_all_pieces() -> None:
    alignment = Alignment.of([0, 0, 1, 3, 3, 3], 5)
    assert alignment.without_pieces == [2, 4]
    assert alignment.piece_labels([7, 8, 9, 5, 6]).tolist() == [7, -100, 8, 5, -100, -100]
    assert alignment.piece_labels([7, 8, 9, 5, 6], "all").tolist() == [7, 7, 8, 5, 5, 5]


def test_pieces_outside_words_have_no_label() -> None:
    alignment = Alignment.of([None, 0, 0, None, 1])
    assert alignment.piece_labels([1, 2], "all").tolist() == [-100, 1, 1, -100, 2]
    assert Alignment.of([]).without_pieces == []


def test_scores_of_words() -> None:
    alignment = Alignment.of([0, 0, 2])
    scores = np.array([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    assert alignment.numbers.tolist() == [0, 2]
    assert alignment.word_scores(scores, "first").tolist() == [[0.6, 0.4], [0.5, 0.5]]
    assert alignment.word_scores(scores, "average") == pytest.approx(np.array([[0.35, 0.65], [0.5, 0.5]]))
    assert alignment.word_scores(scores, "max").tolist() == [[0.1, 0.9], [0.5, 0.5]]
    assert Alignment.of([]).word_scores(np.zeros((0, 2)), "max").shape == (0, 2)


def test_words_and_labels_must_match_the_text() -> None:
    alignment = Alignment.of([0, 1])
    with pytest.raises(InputError, match="2 words and 3 labels"):
        alignment.piece_labels([1, 2, 3])
    with pytest.raises(InputError, match="'first'"):
        alignment.piece_labels([1, 2], "last")
    with pytest.raises(InputError, match="not 'last'"):
        alignment.word_scores(np.zeros((2, 2)), "last")
    with pytest.raises(InputError, match="has a piece of word 1"):
        Alignment.of([0, 1], 1)


def test_words_without_pieces_do_not_shift_others(tokenizer: bertie.BertTokenizer) -> None:
    words = ["\x00", "Zürich", "", "is", "\u200b\u200e", "unbelievably", "U.S.", "\ufeff"]
    (row,) = tokenizer.rows([words], is_split_into_words=True)
    alignment = Alignment.of(row.windows[0].pieces.word_ids, len(words))
    assert alignment.without_pieces == [0, 2, 4, 7]
    labels = alignment.piece_labels(range(10, 18))
    tokens = row.windows[0].pieces.tokens
    labelled = {tokens[place]: int(label) for place, label in enumerate(labels) if label >= 0}
    assert labelled == {"zurich": 11, "is": 13, "un": 15, "u": 16}
    spans = alignment.word_spans(row.windows[0].pieces.offsets)
    assert [words[n][slice(*s)] for n, s in zip(alignment.numbers, spans.tolist(), strict=True)] == [
        words[n] for n in (1, 3, 5, 6)
    ]


def test_words_of_a_text_are_slices_of_it(tokenizer: bertie.BertTokenizer) -> None:
    text = " Don't stop,  nai\u0308ve 東京!\tunbelievably\x00good"
    (row,) = tokenizer.rows([text])
    pieces = row.windows[0].pieces
    spans = Alignment.of(pieces.word_ids).word_spans(pieces.offsets).tolist()
    assert [text[slice(*span)] for span in spans] == [
        *("Don", "'", "t", "stop", ",", "nai\u0308ve", "東", "京", "!", "unbelievably\x00good"),
    ]


def test_offsets_in_joined_words() -> None:
    words = ["New", "York", "!"]
    offsets = joined_offsets([(0, 3), (0, 2), (2, 4), (0, 1)], [0, 1, 1, 2], words)
    joined = " ".join(words)
    assert [joined[start:stop] for start, stop in offsets] == ["New", "Yo", "rk", "!"]
