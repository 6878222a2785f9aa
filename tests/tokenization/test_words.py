"""Texts read side by side, one by one and by ``tokenizers`` have the same ids, whatever is in the table of words."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie import BertTokenizer
from bertie.tokenization import word_table, words
from bertie.tokenization.word_table import WordIds, WordTable
from bertie.tokenization.wordpiece import WordPiece
from bertie.tokenization.words import FEW_TEXTS

# letters, signs, spaces to Python or to BERT, what is dropped, what moves, and marks between texts in the engine
CHARACTERS = st.one_of(
    st.sampled_from(" \t\n,.!ABcde'[]\0\1\x0b\x1c\x85\u3000éÜßİ你，،\u0301\u302e\u1b44\ufffd"),
    st.characters(codec="utf-8"),
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=30), min_size=1, max_size=4)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tokenizer(mini: Path) -> Any:
    return BertTokenizer.from_pretrained(mini)


@QUICK
@given(texts=TEXTS)
def test_side_by_side_as_one_by_one_and_as_tokenizers(texts: list[str], tokenizer: Any) -> None:
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    assert [tokenizer(text)["input_ids"] for text in texts] == expected
    assert tokenizer(texts * FEW_TEXTS * 2)["input_ids"] == expected * FEW_TEXTS * 2


@QUICK
@given(
    texts=TEXTS,
    truncation=st.booleans(),
    max_length=st.integers(3, 9),
    frame=st.booleans(),
    padding=st.sampled_from([False, True, "max_length"]),
    side=st.sampled_from(["left", "right"]),
)
def test_rows_made_together_as_rows_made_alone(
    texts: list[str], truncation: bool, max_length: int, frame: bool, padding: Any, side: str, mini: Path
) -> None:
    tokenizer = BertTokenizer.from_pretrained(mini, truncation_side=side, padding_side=side)
    options: dict[str, Any] = {"truncation": truncation, "max_length": max_length, "add_special_tokens": frame}
    options |= {"return_special_tokens_mask": True, "return_offsets_mapping": True, "return_length": True}
    together, alone = [], []
    for few, found in ((0, together), (1000, alone)):
        with patch.multiple(words, FEW_TEXTS=few, FEW_CHARACTERS=few * 1000):
            encoding = tokenizer(texts, padding=padding, verbose=False, **options)
        found += [encoding.data, [(row.tokens, row.word_ids, row.tokens_cut) for row in encoding.encodings]]
    assert together == alone


@pytest.mark.parametrize("bits", [2, 18])
def test_words_of_every_size_in_a_table_of_any_size(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_table, "_BITS", bits)
    monkeypatch.setattr(word_table, "_SHIFT", np.uint64(64 - bits))
    tokens = ["[UNK]", "", "a", "##a", "##aa", "b", "##b", "a" * 15, "a" * 16, "a" * 17, "b" * 8, "b" * 9, "é" * 8]
    wordpiece = WordPiece({token: number for number, token in enumerate(tokens)}, "[UNK]")
    many = [letter * size for letter in "abcé" for size in range(1, 40)] * 2
    raw = [word.encode() for word in many]
    stops = np.cumsum([0, *map(len, raw)])
    expected = [id_ for word in many for id_ in wordpiece.ids(word)]
    ids = WordIds(wordpiece)
    assert ids.of(b"".join(raw), stops[:-1], stops[1:]).tolist() == expected
    assert ids.of(b"".join(raw), stops[:-1], stops[1:]).tolist() == expected
    assert ids.of_few(raw).tolist() == expected


def test_what_is_remembered_of_words_is_bounded(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.tokenization.remembering.MOST", 100)
    monkeypatch.setattr(word_table, "_AT_A_TIME", 10)
    tokenizer = BertTokenizer.from_pretrained(mini)
    texts = [f"unaffable{number} é{number}й" for number in range(300)]
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    assert tokenizer(texts)["input_ids"] == expected
    assert len(tokenizer._backend._ids_of._table) <= 110


def test_threads_share_a_tokenizer_that_has_met_nothing(mini: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(mini)
    texts = [f"unaffableness{number} of things{number % 7}ed" for number in range(2000)]
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tokenizer(texts)["input_ids"], range(4)))
    assert found == [expected] * 4


def test_a_word_that_another_thread_learns_meanwhile_has_its_ids(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = BertTokenizer.from_pretrained(mini)
    texts = [f"unaffableness{number} of things" for number in range(40)]
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    tokenizer(["of things"] * len(texts))  # the vocabulary is in the table before words are learned
    found = WordTable._found

    def found_late(table: WordTable, *keys: Any) -> Any:
        monkeypatch.undo()
        tokenizer(texts)  # the other thread
        return found(table, *keys)

    monkeypatch.setattr(WordTable, "_found", found_late)
    assert tokenizer(texts)["input_ids"] == expected


@pytest.mark.parametrize(
    "text", ["cheung" * 4 + "\u085b\u1baa", "versity" * 4 + "\u085b\u1baa x", "[MASK] " + "uni" * 9 + "\u1baa\u085b."]
)
@pytest.mark.parametrize("plain", [False, True])
def test_marks_that_are_put_in_order_at_the_end_of_a_long_word(text: str, plain: bool, tokenizer: Any) -> None:
    rust = tokenizer.backend_tokenizer
    rust.encode_special_tokens = plain
    row, expected = tokenizer(text, split_special_tokens=plain)[0], rust.encode(text)
    assert (row.ids, row.offsets, row.word_ids) == (expected.ids, expected.offsets, expected.word_ids)
