"""Vocabularies trained from texts, compared with the literal definition and the trainer of ``tokenizers``; errors."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

import bertie
from bertie.data import records
from bertie.data.bundled_texts import book_sentences
from bertie.tokenization.wordpiece_trainer import count_words, train_wordpiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def by_definition(words: dict[str, int], size: int) -> list[str]:
    """Merge the most frequent pair, recounting all pairs each time."""
    letters = sorted(set("".join(words)))
    within = set("".join(word for word in words if len(word) > 1))
    pieces = [*letters, *("##" + letter for letter in letters if letter in within)]
    rows = {word: [word[0], *("##" + letter for letter in word[1:])] for word in words}
    while len(pieces) < size:
        counts: Counter[tuple[str, str]] = Counter()
        for word, row in rows.items():
            for pair in pairwise(row):
                counts[pair] += words[word]
        first, second = min(counts, key=lambda pair: (-counts[pair], pair[0].startswith("##"), pair))
        merged = first + second.removeprefix("##")
        pieces += [merged] if merged not in pieces else []
        for row in rows.values():
            here = 0
            while here < len(row) - 1:
                if row[here : here + 2] == [first, second]:
                    row[here : here + 2] = [merged]
                here += 1
    return pieces


@given(st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 2**40), min_size=1, max_size=12))
def test_merges_equal_the_definition_for_any_order_of_words(words: dict[str, int]) -> None:
    least = 2 * len(set("".join(words)))
    sizes = [size for size in range(least, least + 30) if _is_reached(words, size)]
    for size in sizes:
        expected = by_definition(words, size)
        assert train_wordpiece(words, size, [], min_frequency=1) == expected
        assert train_wordpiece(dict(reversed(words.items())), size, [], min_frequency=1) == expected


def _is_reached(words: dict[str, int], size: int) -> bool:
    try:
        return len(by_definition(words, size)) == size
    except ValueError:  # no pair is left
        return False


@pytest.mark.parametrize("lower", [True, False])
def test_word_counts_equal_those_of_whole_texts(lower: bool, shared: Path) -> None:
    texts = [str(row.fields["text"]) for row in records(shared / "data" / "languages.jsonl.xz")]
    texts += ["a\x0bb c\x1cd\x85e\xa0f\u3000g", "un\u0301 \u0301e I\u0307 \u4e00\u4e8c,x"]
    rust = bertie.BertTokenizer(do_lower_case=lower).backend_tokenizer
    expected: Counter[str] = Counter()
    for text in texts:
        expected.update(word for word, _ in rust.pre_tokenizer.pre_tokenize_str(rust.normalizer.normalize_str(text)))
    assert count_words(texts, rust) == expected


def test_a_vocabulary_is_nearly_that_of_tokenizers_and_covers_text_as_well() -> None:
    sentences = book_sentences()
    rust = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer()
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.train_from_iterator(
        sentences, trainers.WordPieceTrainer(vocab_size=1000, special_tokens=SPECIAL, show_progress=False)
    )
    ours = bertie.BertTokenizer().train_new_from_iterator(sentences, 1000)
    assert len(set(ours.get_vocab()) & set(rust.get_vocab())) > 0.97 * 1000
    of_ours, of_theirs = (sum(len(one) for one in lists) for lists in _pieces(ours, rust, sentences))
    assert of_ours < 1.002 * of_theirs


def _pieces(
    ours: bertie.BertTokenizer, rust: tokenizers.Tokenizer, sentences: list[str]
) -> tuple[list[list[int]], list[list[int]]]:
    return ours(sentences, add_special_tokens=False)["input_ids"], [one.ids for one in rust.encode_batch(sentences)]


@pytest.mark.parametrize("size", [100, 501, 2000])
def test_the_size_is_exact_and_the_files_open_in_transformers(size: int, tmp_path: Path) -> None:
    texts = book_sentences()[:2000]
    tokenizer = bertie.BertTokenizer(do_lower_case=False).train_new_from_iterator([texts], size)
    assert len(tokenizer) == len(set(tokenizer.get_vocab())) == size
    assert [tokenizer.convert_ids_to_tokens(number) for number in range(5)] == SPECIAL
    tokenizer.save_pretrained(tmp_path)
    assert len((tmp_path / "vocab.txt").read_text("utf-8").splitlines()) == size
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(texts[:50])["input_ids"] == tokenizer(texts[:50])["input_ids"]


def test_tokens_are_unique() -> None:
    plain = bertie.BertTokenizer()
    trained = plain.train_new_from_iterator(["ab ab"], 11, new_special_tokens=["[X]", "[X]", "[CLS]"])
    assert list(trained.get_vocab().values()) == list(range(11))
    assert list(trained.get_vocab())[4:] == ["[MASK]", "[X]", "a", "b", "##a", "##b", "ab"]
    for name in ("", "ab", "##b"):
        with pytest.raises(bertie.errors.InputError, match=f"The special token {name!r} is empty or a piece of the"):
            plain.train_new_from_iterator(["ab ab"], 11, new_special_tokens=[name])


def test_special_tokens_are_renamed_and_added() -> None:
    tokenizer = bertie.BertTokenizer(model_max_length=64).train_new_from_iterator(
        book_sentences()[:500], 300, new_special_tokens=["<url>"], special_tokens_map={"[MASK]": "<mask>"}
    )
    assert tokenizer.mask_token == "<mask>"
    assert tokenizer.model_max_length == 64
    assert tokenizer.tokenize("<url> <mask>") == ["<url>", "<mask>"]
    assert len(tokenizer) == 300


def test_a_folder_of_another_program_is_retrained(tmp_path: Path) -> None:
    """Its files hold more than the constructor's arguments."""
    bertie.BertTokenizer(model_max_length=64).train_new_from_iterator(["ab ab"], 10).save_pretrained(tmp_path / "ours")
    transformers.AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    tokenizer = bertie.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    assert tokenizer.init_kwargs["backend"] == "tokenizers"
    trained = tokenizer.train_new_from_iterator(["cd cd"], 10)
    assert list(trained.get_vocab())[5:] == ["c", "d", "##c", "##d", "cd"]
    assert trained.model_max_length == 64
    assert trained.init_kwargs["backend"] == "tokenizers"
    assert trained.name_or_path == ""


def test_words_that_can_only_be_unknown_are_ignored() -> None:
    words = {"ab": 5, "x" * 101: 1000, "cé": 7}
    # room for two characters: c and é occur most often, a and b are left out, and ab with them
    assert train_wordpiece(words, 5, [], limit_alphabet=2) == ["c", "é", "##c", "##é", "cé"]


def test_impossible_vocabularies_are_refused() -> None:
    words = {"low": 5, "lower": 2}
    with pytest.raises(bertie.errors.InputError, match=r"give a vocabulary of 14 tokens, not of 50: .* 2 times"):
        train_wordpiece(words, 50, [])
    with pytest.raises(bertie.errors.InputError, match="5 special tokens leave no room for a character"):
        train_wordpiece(words, 6, SPECIAL)
    with pytest.raises(bertie.errors.InputError, match="there are no words"):
        train_wordpiece({}, 60, SPECIAL)
    other = bertie.BertTokenizer(tokenizer_object=tokenizers.Tokenizer(models.BPE()))
    with pytest.raises(bertie.errors.InputError, match="only BERT's own tokenizer"):
        other.train_new_from_iterator(["a"], 60)
