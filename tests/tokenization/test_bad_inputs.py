"""Bad texts and bad files (bad_inputs 1-17): each is handled, or refused in one clear sentence."""

import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as RustTokenizer

from bertie import BertTokenizer, BertTokenizerLegacy, CheckpointError, InputError, InputTypeError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "a", "b", "##c", "é", "one", "two", "three"]
BOTH = pytest.mark.parametrize("cls", [BertTokenizer, BertTokenizerLegacy])


def make(cls: type = BertTokenizer, **options: Any) -> Any:
    return cls(vocab={token: i for i, token in enumerate(WORDS)}, **options)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "vocab.txt"
    path.write_bytes(content)
    return path


@BOTH
def test_1_empty_text(cls: type) -> None:
    tokenizer = make(cls)
    assert tokenizer("")["input_ids"] == [2, 3]
    assert tokenizer(["", "a"], padding=True)["attention_mask"] == [[1, 1, 0], [1, 1, 1]]


@BOTH
@pytest.mark.parametrize("wrong", [None, 5, b"bytes", float("nan"), np.float64("nan"), {"a": 1}])
def test_2_no_text(cls: type, wrong: Any) -> None:
    tokenizer = make(cls)
    with pytest.raises(InputTypeError, match="text"):
        tokenizer(wrong)
    with pytest.raises(InputTypeError, match=rf"text 1 is .*{type(wrong).__name__}"):
        tokenizer(["a", wrong])
    with pytest.raises(InputTypeError, match="text_pair"):
        tokenizer("a", wrong if wrong is not None else 5)


@BOTH
def test_2_na_skip(cls: type) -> None:
    tokenizer = make(cls)
    assert tokenizer(["a", None, float("nan")], na="skip")["input_ids"] == [[2, 7, 3], [2, 3], [2, 3]]
    assert tokenizer(None, na="skip")["input_ids"] == [2, 3]
    with pytest.raises(InputError, match="'error', 'skip'"):
        tokenizer("a", na="ignore")


@BOTH
def test_3_list_with_one_none(cls: type) -> None:
    with pytest.raises(InputTypeError, match=r"text 1 is None \(NoneType\); it must be a str; na=\"skip\""):
        make(cls)(["a", None, "b"])
    with pytest.raises(InputTypeError, match="word 1 of text 0"):
        make(cls)([["a", None]], is_split_into_words=True)


@BOTH
def test_4_empty_list(cls: type) -> None:
    tokenizer = make(cls)
    assert tokenizer([])["input_ids"] == []
    assert tokenizer([], padding=True, return_tensors="pt")["input_ids"].shape == (0, 0)
    assert tokenizer([], [], padding=True, return_tensors="np")["attention_mask"].shape == (0, 0)
    assert tokenizer([], return_tensors="packed").lengths == ()


@pytest.mark.parametrize("odd", ["\0", "\x07", "\u200b", "\ufffd", "\x85", "\u00ad", "\ue000"])
def test_5_characters_that_are_dropped(odd: str, mini: Path) -> None:
    text = f"he{odd}llo {odd} wor{odd}ld"
    encoding = BertTokenizer(mini / "vocab.txt")(text, return_offsets_mapping=True)
    assert encoding.tokens() == ["[CLS]", "hello", "world", "[SEP]"]
    assert [text[start:stop] for start, stop in encoding["offset_mapping"]] == ["", f"he{odd}llo", f"wor{odd}ld", ""]
    assert BertTokenizerLegacy(mini / "vocab.txt")(text)["input_ids"] == encoding["input_ids"]


@BOTH
def test_6_lone_surrogate(cls: type, caplog: pytest.LogCaptureFixture) -> None:
    assert make(cls)(["hello \ud800\udfff world", "a"])["input_ids"] == [[2, 5, 6, 3], [2, 7, 3]]
    assert "text 0 has 2 lone surrogates" in caplog.text


@BOTH
def test_7_special_tokens_typed_by_a_user(cls: type, mini: Path) -> None:
    tokenizer = cls(vocab=mini / "vocab.txt")
    assert tokenizer.sep_token_id in tokenizer("a [SEP] b", add_special_tokens=False)["input_ids"]
    plain = tokenizer("a [SEP] b", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(plain) == ["a", "[", "sep", "]", "b"]
    always = cls(vocab=mini / "vocab.txt", split_special_tokens=True)
    assert always("a [SEP] b", add_special_tokens=False)["input_ids"] == plain
    # the argument of one call is not the state of the next
    assert tokenizer.sep_token_id in tokenizer("a [SEP] b", add_special_tokens=False)["input_ids"]


@BOTH
@pytest.mark.parametrize("letter", ["a", "é", "а"])
def test_8_one_word_of_a_megabyte(cls: type, letter: str) -> None:
    tokenizer = make(cls)
    assert tokenizer(letter * 1_000_000)["input_ids"] == [2, 1, 3]


@BOTH
def test_9_two_megabytes_of_99_letter_words(cls: type, mini: Path) -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=99)) for _ in range(20_000)]
    tokenizer = cls(vocab=mini / "vocab.txt")
    ids = tokenizer(" ".join(words), verbose=False)["input_ids"]
    expected = RustTokenizer.from_file(str(mini / "tokenizer.json")).encode(" ".join(words[:200])).ids
    assert ids[: len(expected) - 1] == expected[:-1]


ALPHABETS = {"Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюя", "capitals": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
FLOODS = {
    **{
        name: " ".join("".join(random.Random(i).choices(a, k=99)) for i in range(10_000))
        for name, a in ALPHABETS.items()
    },
    "accents": "a" + "\u0301\u0323" * 500_000,
    "accented": "e\u0301" * 500_000,
    "ideographs": "".join(map(chr, range(0x4E00, 0x9FFF))) * 48,
    "syllables": "".join(map(chr, range(0xAC00, 0xD7A3))) * 90,
    "signs": "!?.," * 250_000,
    "hyphens": "ab-" * 330_000,
    "joiners": "\u200b" * 1_000_000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_9_a_million_characters_of_one_kind(name: str, mini: Path) -> None:
    """Its ids begin with those of its beginning."""
    tokenizer, text = BertTokenizer(mini / "vocab.txt"), FLOODS[name]
    ids = tokenizer(text, verbose=False)["input_ids"]
    expected = RustTokenizer.from_file(str(mini / "tokenizer.json")).encode(text[:9_999]).ids
    assert ids[: len(expected) - 2] == expected[:-2] or len(ids) == len(expected) == 3


HARD_TEXTS = {
    "accents": "a" + "\u0301" * 200_000 + " hello",
    "NFD bomb": "ΐ" * 5_000 + " \u1e69\u0323\u0307 ",
    "right to left": "שלום עליכם مرحبا بالعالم \u202eabc\u202c",
    "emoji": "👩\u200d🔬 🏳️\u200d🌈 👍🏽 hello",
    "CJK extension B": "𠀀𠀁hello𪜶 漢字",
    "Hangul": "각 \u1100\u1161\u11a8 안녕하세요 가나다라마바사아자차카타파하",
}


@pytest.mark.parametrize("name", HARD_TEXTS)
def test_10_hard_text(name: str, mini: Path) -> None:
    text = HARD_TEXTS[name]
    encoding = BertTokenizer(mini / "vocab.txt")(text, return_offsets_mapping=True, verbose=False)
    expected = RustTokenizer.from_file(str(mini / "tokenizer.json")).encode(text)
    assert encoding["input_ids"] == expected.ids
    assert encoding["offset_mapping"] == expected.offsets
    words = {word: encoding.word_to_chars(word) for word in encoding.word_ids() if word is not None}
    assert all(span is not None and text[slice(*span)].strip() for span in words.values())


@BOTH
@pytest.mark.parametrize("length", [0, 1, 2])
def test_11_no_room_for_text(cls: type, length: int) -> None:
    tokenizer = make(cls)
    with pytest.raises(InputError, match=rf"max_length is {length}, but 2 special tokens .* at least 3"):
        tokenizer("hello world", truncation=True, max_length=length)
    with pytest.raises(InputError, match="max_length is 3, but 3 special tokens go with a pair"):
        tokenizer("hello", "world", truncation=True, max_length=3)
    assert tokenizer("hello world", truncation=True, max_length=3)["input_ids"] == [2, 5, 3]
    for length in (sys.maxsize, int(1e30)):
        assert tokenizer("hello world", truncation=True, max_length=length) == tokenizer("hello world")


@BOTH
def test_12_stride_too_large(cls: type) -> None:
    tokenizer = make(cls)
    with pytest.raises(InputError, match="stride is 3, but max_length=5 leaves 3 tokens"):
        tokenizer("one two three one two", truncation=True, max_length=5, stride=3, return_overflowing_tokens=True)
    with pytest.raises(InputError, match="stride is -1"):
        tokenizer("one two", truncation=True, max_length=5, stride=-1)


@BOTH
def test_13_the_wrong_side_is_too_short(cls: type) -> None:
    tokenizer = make(cls)
    pair = ("one two three one two three", "a b")
    with pytest.raises(InputError, match=r"only_second' cannot .* the second text has 2"):
        tokenizer(*pair, truncation="only_second", max_length=6)
    with pytest.raises(InputError, match=r"only_first' cannot .* the first text has 2"):
        tokenizer(*pair[::-1], truncation="only_first", max_length=6)
    with pytest.raises(InputError, match="single text"):
        tokenizer(pair[0], truncation="only_second", max_length=6)
    assert len(tokenizer(*pair, truncation="only_first", max_length=6)["input_ids"]) == 6


def lines(*extra: str) -> bytes:
    return "\n".join([*WORDS, *extra]).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("CRLF", lines().replace(b"\n", b"\r\n")),
        ("BOM", b"\xef\xbb\xbf" + lines()),
        ("empty last lines", lines() + b"\n\n"),
        ("no last line end", lines().rstrip()),
    ],
)
@BOTH
def test_14_vocabulary_files_that_are_read(cls: type, name: str, content: bytes, tmp_path: Path) -> None:
    tokenizer = cls(vocab_file=write(tmp_path, content))
    assert tokenizer.get_vocab() == {token: i for i, token in enumerate(WORDS)}


@BOTH
def test_14_duplicates_keep_the_last_line(cls: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = cls(vocab=write(tmp_path, lines("hello", "last")))
    assert tokenizer.convert_tokens_to_ids(["hello", "last", "world"]) == [14, 15, 6]
    assert "'hello' on lines 6 and 15" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (lines("caf\xe9") + "é".encode("latin-1"), r"not UTF-8 text \(line 16, byte 0xE9 at offset \d+\)"),
        (lines().replace(b"[UNK]\n", b""), r"has no token '\[UNK\]'; add it, .*unk_token="),
        (lines().replace(b"[CLS]\n", b""), r"has no token '\[CLS\]'"),
    ],
)
@BOTH
def test_14_vocabulary_files_that_are_refused(cls: type, content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        cls(vocab=write(tmp_path, content))


@BOTH
def test_14_an_empty_line_keeps_its_id(cls: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = cls(vocab=write(tmp_path, lines("", "x")))
    assert tokenizer.convert_tokens_to_ids(["three", "", "x"]) == [13, 14, 15]
    assert tokenizer("x hello", add_special_tokens=False)["input_ids"] == [15, 5]
    assert caplog.text.count("has an empty line 15; it keeps its id") == 1
    tokenizer.save_pretrained(tmp_path / "saved")
    assert cls.from_pretrained(tmp_path / "saved").get_vocab() == tokenizer.get_vocab()
    ours = cls(vocab=tokenizer.get_vocab())
    ours.save_pretrained(tmp_path / "given as a dict")
    assert cls.from_pretrained(tmp_path / "given as a dict").get_vocab() == tokenizer.get_vocab()


def test_14_a_token_that_does_not_fit_on_a_line_is_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = BertTokenizer(vocab={**{token: i for i, token in enumerate(WORDS)}, "": len(WORDS)})
    tokenizer.save_pretrained(tmp_path)
    assert "vocab.txt was not written" in caplog.text
    assert BertTokenizer.from_pretrained(tmp_path).get_vocab() == tokenizer.get_vocab()


@BOTH
def test_14_a_vocabulary_of_500_megabytes(cls: type, tmp_path: Path) -> None:
    path = write(tmp_path, b"")
    os.truncate(path, 500 * 2**20)
    with pytest.raises(CheckpointError, match="524288000 bytes"):
        cls(vocab=path)
    with pytest.raises(CheckpointError, match="there is no vocabulary file"):
        cls(vocab=tmp_path / "missing.txt")


def test_15_files_that_disagree(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    write(tmp_path, lines().replace(b"hello\nworld", b"world\nhello"))
    with pytest.raises(CheckpointError, match="differ: 'hello' has the id 5 in the first and 6 in the second"):
        BertTokenizer.from_pretrained(tmp_path)


def test_15_the_config_wins_over_the_normalizer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(do_lower_case=False).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_lower_case": True}))
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert tokenizer.tokenize("HELLO") == ["hello"]
    assert "do_lower_case is True in the tokenizer_config.json" in caplog.text
    path.unlink()
    assert BertTokenizer.from_pretrained(tmp_path).tokenize("HELLO") == ["[UNK]"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", "{"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}}}'),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": []}}'),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": {"a": 0}, "max_input_chars_per_word": -1}}'),
        ("tokenizer.json", '{"model": {"type": "Unigram", "vocab": {"a": 0}, "unk_id": 9}}'),
        ("tokenizer_config.json", "[" * 100_000),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"x": {"content": "y"}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"99": {"content": "y"}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"9223372036854775808": {"content": "y"}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"99": {"content": 1}}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"99": 7}}'),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"0": {"content": "y"}}}'),
        ("tokenizer_config.json", '{"sep_token": "the"}'),
        ("tokenizer_config.json", '{"unk_token": ""}'),
        ("tokenizer_config.json", '{"do_lower_case": 1}'),
        ("tokenizer_config.json", '{"strip_accents": {}}'),
        ("tokenizer_config.json", '{"model_max_length": NaN}'),
        ("tokenizer_config.json", '{"padding_side": []}'),
        ("tokenizer_config.json", '{"cls_token": {"content": 5}}'),
        ("special_tokens_map.json", '{"cls_token": "\\ud800"}'),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": {"a": 9223372036854775808}}}'),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": {"a": 0}}, "normalizer": 17}'),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": {"a": 0}}, "added_tokens": [7]}'),
        ("tokenizer.json", '{"model": {"type": ["WordPiece"], "vocab": {"a": 0}}}'),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": {"a": 0, "[CLS]": null}}}'),
    ],
)
def test_15_damaged_files(file: str, content: str, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(CheckpointError):
        BertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("part", "stated", "says"),
    [
        ("normalizer", {"type": "BertNormalizer", "lowercase": "yes"}, "its 'normalizer': 'lowercase' is 'yes'"),
        ("normalizer", {"type": "BertNormalizer", "strip_accents": 1}, "its 'normalizer': 'strip_accents' is 1"),
        ("model", {"vocab": {"a": 0}, "unk_token": None}, "its 'model': 'unk_token' is None"),
        ("added_tokens", [{"id": 0, "content": "a", "lstrip": 3}], "an added token: 'lstrip' is 3"),
    ],
)
def test_15_a_value_of_the_wrong_type_is_named(part: str, stated: Any, says: str, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: stated}))
    with pytest.raises(CheckpointError, match=f"{says}; allowed: "):
        BertTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("wrong", [{"ids": []}, {"tokens": []}, {"ids": [2, 3]}])
def test_15_a_post_processor_with_unequal_numbers_of_ids_and_tokens(
    tmp_path: Path, wrong: dict[str, list[int]]
) -> None:
    make().save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "tokenizer.json").read_text())
    stated["post_processor"]["special_tokens"]["[SEP]"] |= wrong
    (tmp_path / "tokenizer.json").write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match=r"the post-processor of the tokenizer.json has \d+ ids for \d+ tokens"):
        BertTokenizer.from_pretrained(tmp_path)


def test_15_a_model_that_cannot_encode_a_text(tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "tokenizer.json").read_text())
    stated["model"]["unk_token"] = "no such token"
    (tmp_path / "tokenizer.json").write_text(json.dumps(stated))
    with pytest.raises(CheckpointError, match="no such token|cannot encode these texts"):
        BertTokenizer.from_pretrained(tmp_path)("zebra")


@BOTH
def test_16_the_length_is_the_number_of_embeddings_needed(cls: type) -> None:
    tokenizer = make(cls)
    assert len(tokenizer) == tokenizer.vocab_size == len(WORDS)
    assert tokenizer.add_tokens(["new", "newer"]) == 2
    assert (len(tokenizer), tokenizer.vocab_size) == (len(WORDS) + 2, len(WORDS))
    assert max(tokenizer.get_vocab().values()) == len(tokenizer) - 1


@BOTH
def test_17_threads_share_one_tokenizer(cls: type, mini: Path) -> None:
    tokenizer = cls(vocab=mini / "vocab.txt")
    texts = [f"text number {i} привет мир, unaffable [MASK] {'x' * i}" for i in range(40)]
    calls = [{}, {"padding": True}, {"truncation": True, "max_length": 8}, {"split_special_tokens": True}]
    calls += [{"padding": "max_length", "max_length": 64, "padding_side": "left"}]
    expected = [tokenizer(texts, **call).data for call in calls]

    def work(number: int) -> bool:
        order = [(number + i) % len(calls) for i in range(10)]
        return all(tokenizer(texts, **calls[i]).data == expected[i] for i in order)

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(work, range(32)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_17_fork_after_use(mini: Path) -> None:
    """In a process of its own, because the test looks for a warning that Rust writes to standard error."""
    program = f"""
import os
from bertie import BertTokenizer
tokenizer = BertTokenizer({str(mini / "vocab.txt")!r})
# Rust, which has threads of its own, reads texts with added tokens
texts = ["привет [MASK] мир", "hello world"] * 50
expected = tokenizer(texts).data
child = os.fork()
if child == 0:
    os._exit(0 if tokenizer(texts).data == expected else 1)
assert os.waitpid(child, 0)[1] == 0
assert "TOKENIZERS_PARALLELISM" not in os.environ
assert tokenizer(texts).data == expected
"""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_17_fork_while_threads_encode(mini: Path) -> None:
    """In a process of its own, because a child that waits for a lock of its parent's threads would wait forever."""
    program = f"""
import itertools, os, signal, threading
from bertie import BertTokenizer
tokenizer = BertTokenizer({str(mini / "vocab.txt")!r})
numbers = itertools.count()
def new_texts():
    return [f"unaffable{{number}}ness{{number}}" for number in itertools.islice(numbers, 400)]
def encode():
    while True:
        tokenizer(new_texts())
for _ in range(3):
    threading.Thread(target=encode, daemon=True).start()
texts = new_texts()
expected = tokenizer(texts).data
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        tokenizer(new_texts())
        os._exit(0 if tokenizer(texts).data == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
print("done", flush=True)
os._exit(0)
"""
    # newer Pythons warn of every such fork
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("done\n", "")


@BOTH
def test_unknown_arguments_are_named(cls: type, tmp_path: Path) -> None:
    tokenizer = make(cls)
    with pytest.raises(InputTypeError, match="no argument 'truncate'. Did you mean 'truncation'"):
        tokenizer("a", truncate=True)
    with pytest.raises(InputTypeError, match="Did you mean 'do_lower_case'"):
        make(cls, do_lowercase=True)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputTypeError, match="Did you mean 'padding_side'"):
        cls.from_pretrained(tmp_path, padding_sid="left")
    with pytest.raises(InputError, match="it must be one of 'longest_first'"):
        tokenizer("a", truncation="longest")
    with pytest.raises(InputError, match="return_tensors is 'tf'"):
        tokenizer("a", return_tensors="tf")


def test_rows_that_make_no_rectangle() -> None:
    with pytest.raises(InputError, match=r"3 to 4 tokens.*padding=True"):
        make()(["a", "a b"], return_tensors="pt")


def test_no_vocabulary_in_the_folder(tmp_path: Path, minilm: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither vocab.txt nor tokenizer.json"):
        BertTokenizer.from_pretrained(tmp_path)
    shutil.copy(minilm / "tokenizer.json", tmp_path)
    assert len(BertTokenizer.from_pretrained(tmp_path)) == 30522


@pytest.mark.parametrize("number", [-1, 2**31, True, 1.5])
def test_invalid_ids_are_refused(number: Any) -> None:
    tokens = {token: place for place, token in enumerate(("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]"))}
    with pytest.raises(TypeError, match=f"'a' the id {number}; ids are integers from 0 to 2147483647"):
        BertTokenizer({**tokens, "a": number})
