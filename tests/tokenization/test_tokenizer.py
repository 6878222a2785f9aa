"""Everything about a tokenizer except its algorithm: files, copies, added tokens, decoding, rows made of ids."""

import copy
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import AddedToken

import bertie
from bertie import AutoTokenizer, BatchEncoding, BertTokenizer, BertTokenizerLegacy, InputError

TEXTS = ["Hello, my dog is cute", "Ünïted [MASK] states won't 你好 unaffableness", "", "привет мир"]
BOTH = pytest.mark.parametrize("cls", [BertTokenizer, BertTokenizerLegacy])


def theirs(cls: type) -> Any:
    return getattr(transformers, cls.__name__)


def loaded(cls: type, folder: Path, **options: Any) -> Any:
    return cls.from_pretrained(folder, **options)


@BOTH
def test_saved_files_are_read_by_both_packages(cls: type, mini: Path, tmp_path: Path) -> None:
    tokenizer = loaded(cls, mini, truncation_side="left")
    tokenizer.add_tokens(["newword", AddedToken("other", lstrip=True)])
    tokenizer.add_special_tokens({"extra_special_tokens": ["<x>"]})
    tokenizer.save_pretrained(tmp_path)
    text = "A newword <x> and other things"
    expected = tokenizer(text).data
    again, reference = loaded(cls, tmp_path), theirs(cls).from_pretrained(tmp_path)
    assert again(text).data == reference(text).data == expected
    assert again.get_vocab() == reference.get_vocab() == tokenizer.get_vocab()
    assert again.truncation_side == "left"
    assert again.extra_special_tokens == reference.extra_special_tokens == ["<x>"]
    assert again.model_max_length == reference.model_max_length == 512


def test_options_of_the_legacy_tokenizer_are_saved_by_the_fast_one(mini: Path, tmp_path: Path) -> None:
    BertTokenizer(mini / "vocab.txt", do_basic_tokenize=False, never_split=["Foo"]).save_pretrained(tmp_path)
    legacy = BertTokenizerLegacy.from_pretrained(tmp_path)
    assert (legacy.do_basic_tokenize, legacy.never_split) == (False, ["Foo"])
    theirs = transformers.BertTokenizerLegacy.from_pretrained(tmp_path)
    assert legacy.tokenize("hello, world") == theirs.tokenize("hello, world") != ["hello", ",", "world"]


@BOTH
def test_files_of_the_reference(cls: type, mini: Path, tmp_path: Path) -> None:
    reference = theirs(cls).from_pretrained(mini)
    reference.add_tokens(["newword"])
    reference.add_special_tokens({"extra_special_tokens": ["<x>"]})
    reference.save_pretrained(tmp_path)
    text = "A newword <x> [MASK]"
    assert loaded(cls, tmp_path)(text).data == reference(text).data


@BOTH
def test_vocabulary_alone_and_json_alone(cls: type, minilm: Path, tmp_path: Path) -> None:
    expected = BertTokenizer.from_pretrained(minilm)(TEXTS)["input_ids"]
    for name in ("vocab.txt", "tokenizer.json"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes((minilm / name).read_bytes())
        assert loaded(cls, folder)(TEXTS)["input_ids"] == expected
        assert loaded(cls, folder / name)(TEXTS)["input_ids"] == expected
    path = str(minilm / "vocab.txt")
    assert cls(vocab=path)(TEXTS)["input_ids"] == cls(vocab_file=path)(TEXTS)["input_ids"] == expected
    with pytest.raises(InputError, match="two names of one argument"):
        cls(vocab=path, vocab_file=path)


def test_padding_and_truncation_in_a_file_are_off(minilm: Path) -> None:
    tokenizer = BertTokenizer.from_pretrained(minilm)
    assert len(tokenizer("hello")["input_ids"]) == 3
    assert len(tokenizer("hello " * 400)["input_ids"]) == 402


def test_auto_tokenizer(mini: Path) -> None:
    assert type(AutoTokenizer.from_pretrained(mini)) is BertTokenizer
    assert type(AutoTokenizer.from_pretrained(mini, use_fast=False)) is BertTokenizerLegacy
    assert bertie.BertTokenizerFast is BertTokenizer
    with pytest.raises(bertie.BertieError):
        AutoTokenizer()


@BOTH
def test_copies(cls: type, mini: Path) -> None:
    tokenizer = loaded(cls, mini)
    tokenizer.add_tokens(["newword"])
    text = "a newword and more"
    before = pickle.dumps(tokenizer)
    for made in (pickle.loads(before), copy.deepcopy(tokenizer), copy.copy(tokenizer)):  # noqa: S301
        assert made(text).data == tokenizer(text).data
        assert len(made) == len(tokenizer)
    assert pickle.dumps(tokenizer) == before, "using a tokenizer changes its fingerprint"
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["onemoreword"])
    assert len(other) == len(tokenizer) + 1
    encoding = pickle.loads(pickle.dumps(tokenizer(TEXTS)))  # noqa: S301
    assert encoding.data == tokenizer(TEXTS).data
    if tokenizer.is_fast:
        assert encoding.word_ids(1) == tokenizer(TEXTS).word_ids(1)


@BOTH
def test_ids_to_text(cls: type, mini: Path) -> None:
    tokenizer, reference = loaded(cls, mini), theirs(cls).from_pretrained(mini)
    ids = tokenizer(TEXTS)["input_ids"]
    for options in ({}, {"skip_special_tokens": True}, {"clean_up_tokenization_spaces": False}):
        assert tokenizer.batch_decode(ids, **options) == reference.batch_decode(ids, **options)
        assert tokenizer.decode(ids[1], **options) == reference.decode(ids[1], **options)
    padded = tokenizer(TEXTS, padding=True, return_tensors="pt")["input_ids"]
    assert tokenizer.batch_decode(padded) == reference.batch_decode(padded)
    assert tokenizer.decode(np.array(ids[0])) == reference.decode(ids[0])
    assert tokenizer.decode(7592) == tokenizer.decode(torch.tensor(7592)) == "hello"
    assert tokenizer.convert_ids_to_tokens(ids[0], skip_special_tokens=True) == reference.tokenize(TEXTS[0])
    assert tokenizer.convert_ids_to_tokens(7592) == "hello"
    assert tokenizer.convert_tokens_to_ids(["hello", "no such token"]) == [7592, tokenizer.unk_token_id]
    assert tokenizer.convert_tokens_to_string(["una", "##ff", "able"]) == "unaff able"
    with pytest.raises(InputError, match="-1 is not an id"):
        tokenizer.decode([-1])


@BOTH
def test_special_tokens(cls: type, mini: Path) -> None:
    tokenizer, reference = loaded(cls, mini), theirs(cls).from_pretrained(mini)
    assert (tokenizer.cls_token, tokenizer.cls_token_id) == ("[CLS]", 101)
    assert tokenizer.bos_token is None
    assert tokenizer.bos_token_id is None
    assert tokenizer.all_special_tokens == reference.all_special_tokens
    assert tokenizer.all_special_ids == reference.all_special_ids
    assert tokenizer.special_tokens_map == reference.special_tokens_map
    assert tokenizer.get_added_vocab() == reference.get_added_vocab()
    for made in (tokenizer, reference):
        made.pad_token = "[unused1]"
        made.eos_token_id = 102
        assert made.add_special_tokens({"mask_token": "<m>", "extra_special_tokens": ["<x>"]}) == 2
    assert tokenizer.pad_token_id == reference.pad_token_id == 2
    assert tokenizer.eos_token == "[SEP]"
    assert tokenizer.all_special_ids == reference.all_special_ids
    text = "a <m> <x>b"
    assert tokenizer(text)["input_ids"] == reference(text)["input_ids"]
    with pytest.raises(InputError, match="Did you mean 'cls_token'"):
        tokenizer.add_special_tokens({"cls_tokn": "x"})


@pytest.mark.parametrize(
    "token", ["newword", "NewWord", AddedToken("w x", lstrip=True, rstrip=True), "two\twords", "é", "ǎ"]
)
def test_added_tokens_in_texts(token: Any, mini: Path) -> None:
    texts = ["a newword b", "NEWWORD", "anewwordb", "so w x it", "W X", "two words", "two\twords", "é e É", "NewWord"]
    for cls in (BertTokenizer, BertTokenizerLegacy):
        tokenizer, reference = loaded(cls, mini), theirs(cls).from_pretrained(mini)
        for made in (tokenizer, reference):
            made("a newword b")
            made.add_tokens([token])
        assert tokenizer(texts)["input_ids"] == reference(texts)["input_ids"]


def test_legacy_tokens_and_added_tokens(mini: Path) -> None:
    options = {"do_lower_case": False, "never_split": ["Foo"]}
    ours, reference = (
        cls(str(mini / "vocab.txt"), **options) for cls in (BertTokenizerLegacy, theirs(BertTokenizerLegacy))
    )
    assert ours.tokenize("a Foo b") == reference.tokenize("a Foo b") == ["a", "Foo", "b"]
    for token in (
        AddedToken("<e>", lstrip=True, rstrip=True, single_word=True),
        AddedToken("[X]", normalized=False),
        "[X]",
    ):
        assert ours.add_tokens([token]) == reference.add_tokens([token])
    for text in ("one \n<e> two", "one <e> \ntwo", "one <e>\n two", "one [X] [x]"):
        assert ours(text).data == reference(text).data, text


def steps_of(work: Callable[[], Any]) -> int:
    """Return the number of bytecode instructions that the interpreter executes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_the_cost_of_added_tokens_is_linear(mini: Path) -> None:
    def steps(count: int) -> int:
        tokenizer = loaded(BertTokenizerLegacy, mini)
        before, words = len(tokenizer), [f"<{number}>" for number in range(count)]
        taken = steps_of(lambda: tokenizer.add_tokens(words))
        assert tokenizer.convert_ids_to_tokens(list(range(before, before + count))) == words
        return taken

    assert steps(2_000) < 5 * steps(500), "each of them looks through all added tokens"


def test_the_cost_of_long_words_is_linear(mini: Path) -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=99)) for _ in range(400)]

    def steps(text: str) -> int:
        tokenizer = loaded(BertTokenizerLegacy, mini)
        tokenizer("unaffable")  # makes its tables
        return steps_of(lambda: tokenizer(text))

    assert steps(" ".join(words)) < 5 * steps(" ".join(words[:100]))


@BOTH
def test_length_as_in_the_reference(cls: type, mini: Path) -> None:
    tokenizer, reference = loaded(cls, mini), theirs(cls).from_pretrained(mini)
    for text in ("a b", ["a b"], ["a b", "c"]):
        assert tokenizer(text, return_length=True)["length"] == reference(text, return_length=True)["length"]


@BOTH
def test_rows_made_of_ids(cls: type, mini: Path) -> None:
    tokenizer, reference = loaded(cls, mini), theirs(BertTokenizerLegacy).from_pretrained(mini)
    first, second = [7592, 2088, 999], [2023]
    for pair in (None, second):
        row = tokenizer.build_inputs_with_special_tokens(first, pair)
        assert row == reference.build_inputs_with_special_tokens(first, pair)
        types = tokenizer.create_token_type_ids_from_sequences(first, pair)
        assert types == reference.create_token_type_ids_from_sequences(first, pair)
        assert tokenizer.get_special_tokens_mask(first, pair) == reference.get_special_tokens_mask(first, pair)
        mask = tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True)
        assert mask == reference.get_special_tokens_mask(row, already_has_special_tokens=True)
        assert tokenizer.num_special_tokens_to_add(pair is not None) == len(row) - len(first) - len(pair or [])
        for options in (
            {"return_token_type_ids": True},
            {"return_token_type_ids": True, "padding": "max_length", "max_length": 9, "return_length": True},
            {
                "return_token_type_ids": True,
                "truncation": "only_first",
                "max_length": 5,
                "return_overflowing_tokens": True,
            },
        ):
            made = tokenizer.prepare_for_model(first, pair, **options)
            assert made.data == reference.prepare_for_model(first, pair, **options).data
    assert tokenizer.max_len_single_sentence == 510
    assert tokenizer.max_len_sentences_pair == 509


def test_legacy_overflow(mini: Path) -> None:
    ours, reference = loaded(BertTokenizerLegacy, mini), transformers.BertTokenizerLegacy.from_pretrained(mini)
    options = {"max_length": 6, "return_overflowing_tokens": True, "stride": 1}
    for side in ("right", "left"):
        ours.truncation_side = reference.truncation_side = side
        for texts in (TEXTS[:1], TEXTS[:1] * 2):
            cut = {"truncation": True, **options}
            assert ours(texts, **cut).data == reference(texts, **cut).data
        pair = (TEXTS[0], "a")
        cut = {"truncation": "only_first", **options}
        assert ours(*pair, **cut).data == reference(*pair, **cut).data
    with pytest.raises(InputError, match="use 'only_first' or 'only_second'"):
        ours(*pair, truncation=True, **options)


@BOTH
def test_packed(cls: type, mini: Path) -> None:
    tokenizer = loaded(cls, mini)
    lists = tokenizer(TEXTS, TEXTS[::-1], return_token_type_ids=True, truncation=True, max_length=9)
    packed = tokenizer(TEXTS, TEXTS[::-1], truncation=True, max_length=9, return_tensors="packed")
    assert packed.lengths == tuple(map(len, lists["input_ids"]))
    assert packed.input_ids.tolist() == [i for ids in lists["input_ids"] for i in ids]
    assert packed.token_type_ids.tolist() == [i for types in lists["token_type_ids"] for i in types]
    with pytest.raises(InputError, match="ids and token types only"):
        tokenizer(TEXTS, return_length=True, return_tensors="packed")


@BOTH
def test_targets_and_other_arguments(cls: type, mini: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer, reference = loaded(cls, mini), theirs(cls).from_pretrained(mini)
    for made in (tokenizer, reference):
        assert made("a b", text_target="c d")["labels"] == [101, 1039, 1040, 102]
    assert tokenizer(text_target="a").data == reference(text_target="a").data
    assert tokenizer.encode("a b", add_special_tokens=False) == [1037, 1038]
    assert tokenizer.tokenize("unaffableness a [MASK]") == reference.tokenize("unaffableness a [MASK]")
    assert tokenizer("a b c", max_length=4)["input_ids"] == reference("a b c", max_length=4)["input_ids"]
    tokenizer("a " * 600)
    tokenizer("b " * 600)
    assert caplog.text.count("a text has 602 tokens, but the model takes 512") == 1


def test_batch_encoding_answers_like_the_reference(mini: Path) -> None:
    tokenizer, reference = loaded(BertTokenizer, mini), transformers.BertTokenizer.from_pretrained(mini)
    seconds = ["The second, unaffable text", "b", "c d", "e"]
    for side, padding in (("right", True), ("left", True), ("right", False)):
        ours = tokenizer(TEXTS, seconds, padding=padding, padding_side=side)
        other = reference(TEXTS, seconds, padding=padding, padding_side=side)
        assert (ours.is_fast, ours.n_sequences) == (other.is_fast, other.n_sequences)
        for row in range(len(TEXTS)):
            assert ours[row].tokens == other[row].tokens
            assert ours[row].special_tokens_mask == other[row].special_tokens_mask
            for i in range(len(ours["input_ids"][row])):
                assert ours.token_to_chars(row, i) == other.token_to_chars(row, i)
                assert ours.token_to_word(row, i) == other.token_to_word(row, i)
                assert ours.token_to_sequence(row, i) == other.token_to_sequence(row, i)
            for sequence in (0, 1):
                for char in range(24):
                    assert ours.char_to_token(row, char, sequence) == other.char_to_token(row, char, sequence)
                    assert ours.char_to_word(row, char, sequence) == other.char_to_word(row, char, sequence)
                for word in set(ours.word_ids(row)) - {None}:
                    assert ours.word_to_tokens(row, word, sequence) == other.word_to_tokens(row, word, sequence)
    assert tokenizer("hello world").word_to_chars(1) == (6, 11)
    assert tokenizer("hello world").char_to_token(7) == 2
    assert tokenizer("hello world").tokens()[-1] == "[SEP]"
    assert tokenizer("hello world").token_to_word(-2) == 1
    assert [tokenizer("one two three", truncation=True, max_length=n)[0].tokens_cut for n in (3, 9)] == [2, 0]


def test_batch_encoding_is_a_dictionary(mini: Path) -> None:
    tokenizer = loaded(BertTokenizer, mini)
    encoding = tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert set({**encoding}) == {"input_ids", "token_type_ids", "attention_mask"}
    assert encoding.input_ids is encoding["input_ids"]
    assert encoding["input_ids"].dtype == torch.int64
    assert encoding.to("cpu") is encoding
    assert encoding.to(torch.device("cpu"))["input_ids"].shape == encoding["attention_mask"].shape
    assert BatchEncoding({"a": [[1, 2]]}, tensor_type="np")["a"].tolist() == [[1, 2]]
    assert BatchEncoding({"a": [1, 2], "b": [3, 4]})[:1] == {"a": [1], "b": [3]}
    with pytest.raises(AttributeError, match="no 'labels'"):
        _ = encoding.labels
    with pytest.raises(InputError, match="make no tensor"):
        BatchEncoding({"a": [[1], [1, 2]]}, tensor_type="pt")
    with pytest.raises(InputError, match="needs a text that a tokenizer encoded"):
        BatchEncoding({"a": [1, 2]}).word_ids()


def test_columns_are_texts(mini: Path) -> None:
    tokenizer = loaded(BertTokenizer, mini)
    assert tokenizer(np.array(["a", "b"]))["input_ids"] == tokenizer(["a", "b"])["input_ids"]
    assert tokenizer([("a", "b"), ["c", "d"]])["input_ids"] == tokenizer(["a", "c"], ["b", "d"])["input_ids"]


@BOTH
def test_rows_know_what_was_cut(cls: type, mini: Path) -> None:
    tokenizer = loaded(cls, mini)
    texts = ["one two three four five", "", "a b", ("one two three", "four five six seven")]
    rows = list(tokenizer.rows(texts, truncation=True, max_length=6))
    assert [row.ids for row in rows] == tokenizer(texts, truncation=True, max_length=6)["input_ids"]
    assert [row.tokens_cut for row in rows] == [1, 0, 0, 4]
    assert [row.is_empty for row in rows] == [False, True, False, False]


def test_many_added_tokens_are_found(mini: Path) -> None:
    """Added tokens with spaces, capitals and punctuation, of a single character, and of unusual characters."""
    added = [f"tok{number}" for number in range(50)] + ["c++", "New York", "Ünï", "你好", "don't", "\u302ea", "x y"]
    added += [AddedToken("<E>", normalized=False), AddedToken("W X", normalized=False), AddedToken("%", lstrip=True)]
    texts = [
        "a tok7 b",
        "TOK49!",
        "I know C++.",
        "new  york",
        "new york",
        "uni ÜNI",
        "你好 吗你好",
        "don't DON'T do n't",
    ]
    texts += [
        "\u302ea b",
        "<E> <e> x<E>y",
        "W X w x",
        "w\tx",
        "x y",
        "100 % of",
        "tok",
        "[MASK]tok1[SEP]",
        "plain text",
    ]
    tokenizer, reference = loaded(BertTokenizer, mini), theirs(BertTokenizer).from_pretrained(mini)
    for made in (tokenizer, reference):
        made.add_tokens(added)
    for plain in (False, True):
        ours = tokenizer(texts, return_offsets_mapping=True, split_special_tokens=plain)
        other = reference(texts, return_offsets_mapping=True, split_special_tokens=plain)
        for index, text in enumerate(texts):
            assert ours["input_ids"][index] == other["input_ids"][index], text
            assert ours["offset_mapping"][index] == other["offset_mapping"][index], text
