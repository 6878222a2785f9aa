"""The kernel with its fallback, the package ``tokenizers``: ids, offsets and words are those of ``tokenizers``."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from bertie import BertTokenizer
from bertie.data import records
from bertie.kernels import text_reader
from bertie.tokenization.backend import BertBackend
from bertie.tokenization.encoding import Window
from bertie.tokenization.rows import LazyRows, flat_ids
from bertie.tokenization.truncation import truncate

# letters, punctuation, spaces to Python or to BERT, dropped and reordered characters, and the kernel's text separator
CHARACTERS = st.one_of(
    st.sampled_from(" \t\n,.!ABcde'[]\0\1\x0b\x1c\x85\u3000éÜßİ你，،\u0301\u302e\u1b44\ufffd"),
    st.characters(codec="utf-8"),
)
TEXTS = st.lists(st.text(CHARACTERS, max_size=30), min_size=1, max_size=4)
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
needs_kernel = pytest.mark.skipif(text_reader.functions() is None, reason="the kernel was not compiled")


@pytest.fixture(scope="module")
def tokenizer(mini: Path) -> Any:
    return BertTokenizer.from_pretrained(mini)


def places(row: Any) -> list[Any]:
    return list(zip(row.ids, row.tokens, row.offsets, row.word_ids, strict=True))


@QUICK
@given(texts=TEXTS)
def test_a_batch_equals_single_texts_and_tokenizers(texts: list[str], tokenizer: Any) -> None:
    expected = [places(row) for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    assert [places(tokenizer(text)[0]) for text in texts] == expected
    assert [places(row) for row in tokenizer(texts * 20).encodings] == expected * 20


def rows_of_pieces(encoded: Any, call: Any, template: Any) -> list[Any]:
    texts = [Window.whole(encoded.pieces(number)) for number in range(len(encoded))]
    return [truncate((text,), call, template, False) for text in texts]


@QUICK
@given(
    texts=TEXTS,
    truncation=st.booleans(),
    max_length=st.integers(3, 9),
    frame=st.booleans(),
    padding=st.sampled_from([False, True, "max_length"]),
    side=st.sampled_from(["left", "right"]),
)
def test_rows_of_the_kernel_equal_rows_made_of_pieces(
    texts: list[str], truncation: bool, max_length: int, frame: bool, padding: Any, side: str, mini: Path
) -> None:
    """The kernel itself truncates the rows of single texts and adds their special tokens."""
    tokenizer = BertTokenizer.from_pretrained(mini, truncation_side=side, padding_side=side)
    options: dict[str, Any] = {"truncation": truncation, "max_length": max_length, "add_special_tokens": frame}
    options |= {"return_special_tokens_mask": True, "return_offsets_mapping": True, "return_length": True}
    found = []
    for rows in (LazyRows, rows_of_pieces):
        with patch("bertie.tokenization.tokenizer.LazyRows", rows):
            encoding = tokenizer(texts, padding=padding, verbose=False, **options)
        found.append([encoding.data, [(row.tokens, row.word_ids, row.tokens_cut) for row in encoding.encodings]])
    assert found[0] == found[1]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("odd", ["", "\u302e", "[MASK]", "newyork", "[SEP] ", "x" * 9000])
@pytest.mark.parametrize("added", [(), ("new york", "newyork")])
def test_only_a_part_of_a_long_text_is_read(side: str, odd: str, added: tuple[str, ...], mini: Path) -> None:
    """The kept tokens are the same wherever in the text something occurs that the kernel leaves to ``tokenizers``."""
    tokenizer = BertTokenizer.from_pretrained(mini, truncation_side=side)
    tokenizer.add_tokens(list(added))
    words = "Unaffable words of a new york, and more of them "
    for text in (odd + words * 40, words * 20 + odd + words * 20, words * 40 + odd, odd + " " * 9000 + odd):
        cut = tokenizer([text, "a b"], truncation=True, max_length=12)
        whole = tokenizer.backend_tokenizer
        whole.enable_truncation(12, direction=side)
        assert [places(row) for row in cut.encodings] == [places(row) for row in whole.encode_batch([text, "a b"])]
        counted = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        assert cut[0].tokens_cut == counted - len(cut[0].ids) + 2
        assert [row.tokens_cut for row in tokenizer.rows([text], truncation=True, max_length=12)] == [cut[0].tokens_cut]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("text", ["a word " * 300, "word" * 20 + " a" * 300, "\u4f60" * 500, "x" * 9000])
def test_the_count_of_tokens_cut_off_is_limited(
    text: str, side: str, mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertie.tokenization.tokenizer.COUNT_LIMIT", 10)
    tokenizer = BertTokenizer.from_pretrained(mini, truncation_side=side)
    whole = tokenizer([text], add_special_tokens=False, verbose=False)["input_ids"][0]
    flat = flat_ids(tokenizer.rows([text, "a"], truncation=True, max_length=22))
    assert flat.tokens_cut == [min(max(len(whole) - 20, 0), 10), 0]
    kept = whole[:20] if side == "right" else whole[-20:]
    assert flat.ids[1 : flat.lengths[0] - 1].tolist() == kept


def test_without_the_kernel(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Hello, unaffable world!", "[MASK] here", "", "é" * 200, "\u302ea"]
    expected = [places(row) for row in BertTokenizer.from_pretrained(mini)(texts).encodings]
    monkeypatch.setattr(text_reader, "functions", lambda: None)
    tokenizer = BertTokenizer.from_pretrained(mini)
    assert [places(row) for row in tokenizer(texts).encodings] == expected
    assert tokenizer(texts, truncation=True, max_length=4, padding=True)["input_ids"][0] == [101, 7592, 1010, 102]


def test_threads_share_a_new_tokenizer(mini: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(mini)
    texts = [f"unaffableness{number} of things{number % 7}ed é{number}й" for number in range(2000)]
    expected = [row.ids for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tokenizer(texts)["input_ids"], range(8)))
    assert found == [expected] * 8


@needs_kernel
def test_the_cache_of_words_changes_nothing(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is so small that words keep replacing each other."""
    monkeypatch.setattr(text_reader, "_FEWEST_LINES", 8)
    tokenizer = BertTokenizer.from_pretrained(mini)
    texts = [f"unaffable{number} é{number}й naïve¿{number} {'я' * (number % 20)}" for number in range(60)] * 3
    expected = [places(row) for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    assert [places(row) for row in tokenizer(texts).encodings] == expected
    assert [places(row) for row in tokenizer(texts).encodings] == expected


@needs_kernel
@pytest.mark.parametrize("most", [64, 1 << 12])
def test_a_cache_that_grows_keeps_what_it_holds(most: int, mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "_FEWEST_LINES", 8)
    monkeypatch.setattr(text_reader, "_MOST_LINES", most)
    monkeypatch.setattr(text_reader, "_FIRST_BATCH", 2)
    tokenizer = BertTokenizer.from_pretrained(mini)
    texts = [
        f"unaffable{number} é{number}й {'naïve' * (number % 7)}¿{number} {'b' * 16} {number}" for number in range(300)
    ]
    expected = [places(row) for row in tokenizer.backend_tokenizer.encode_batch(texts)]
    for some in (slice(0, 9), slice(None), slice(None)):
        assert [places(row) for row in tokenizer(texts[some]).encodings] == expected[some]
    backend = tokenizer._backend
    assert isinstance(backend, BertBackend)
    assert backend._reader is not None
    assert backend._reader._memories[0].rows.num_lines == min(most, 1 << 11)


@pytest.mark.parametrize(
    "text", ["cheung" * 4 + "\u085b\u1baa", "versity" * 4 + "\u085b\u1baa x", "[MASK] " + "uni" * 9 + "\u1baa\u085b."]
)
@pytest.mark.parametrize("plain", [False, True])
def test_reordered_marks_at_the_end_of_a_long_word(text: str, plain: bool, tokenizer: Any) -> None:
    rust = tokenizer.backend_tokenizer
    rust.encode_special_tokens = plain
    assert places(tokenizer(text, split_special_tokens=plain)[0]) == places(rust.encode(text))


@pytest.mark.parametrize(
    "token", ["a", "re", "cover", "%", "#", " ", "\t", "é", "你", "x y", AddedToken("Re", normalized=False)]
)
def test_added_tokens_within_words(token: Any, mini: Path) -> None:
    """Whatever the added token, ``tokenizers`` reads the texts that may hold it."""
    tokenizer = BertTokenizer.from_pretrained(mini)
    tokenizer.add_tokens([token, AddedToken("ő", normalized=False), AddedToken("[X", normalized=False)])
    rust = tokenizer.backend_tokenizer
    for text in (
        "rediscovered",
        "Re-read a dis%COVER# x y",
        "caf\u00e9 cafe\u0301 \u4f60\u597d",
        "a[Xb fő [MASK]",
        "s",
    ):
        assert places(tokenizer(text)[0]) == places(rust.encode(text)), text


def test_tokens_of_the_vocabulary_are_added_without_tokenizers(mini: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(mini)
    backend = tokenizer._backend
    assert isinstance(backend, BertBackend)
    kept = copy.deepcopy(backend)
    late = [len(tokenizer), tokenizer.get_vocab(), tokenizer.added_tokens_decoder, tokenizer("[MASK]")["input_ids"]]
    assert pickle.dumps(kept) == pickle.dumps(BertTokenizer.from_pretrained(mini)._backend)
    assert kept.rust.get_added_tokens_decoder() == tokenizer.added_tokens_decoder
    counts = [
        made.add_tokens([AddedToken("the", special=True), AddedToken("the"), AddedToken("[MASK]")], special)
        for made in (kept, BertTokenizer.from_pretrained(mini)._backend)
        for special in (False, True)
    ]
    assert counts == [1, 0] * 2
    assert late[:2] == [len(kept.rust.get_vocab()), kept.rust.get_vocab()]
    assert late[2].keys() < kept.added_tokens().keys()


def test_plain_ids_are_those_of_a_call_without_special_tokens(tokenizer: Any, shared: Path) -> None:
    texts = ["A [SEP] b", "", "\u200b", "caf\u00e9", "x" * 300, "\u0327\u0301 e\u0301\u0327", "[MASK]" * 3, "a\0b"]
    texts += [str(row.fields["text"])[:2000] for row in records(shared / "data" / "languages.jsonl.xz")]
    wanted = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ids, lengths = tokenizer.plain_ids(texts)
    assert lengths.tolist() == list(map(len, wanted))
    assert ids.tolist() == list(chain.from_iterable(wanted))
