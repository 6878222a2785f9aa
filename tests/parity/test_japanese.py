"""BertJapaneseTokenizer: the ids of transformers' tokenizer of the same folder, and places that are the text's own."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import transformers

import bertie
from bertie import AutoTokenizer, BertJapaneseTokenizer, BertTokenizer, CheckpointError, InputError

pytest.importorskip("fugashi")
TEXTS = [
    "吾輩は猫である。名前はまだ無い。",
    "ｶﾞｷﾞ㌔　ＡＢＣ１２３ｃ　[MASK]です",
    "東京スカイツリーの高さは634mだ、Hello World!",
    "か\u3099き  İI café ①②",
    "",
    "\u3000",
    "未知語𠮷野家と[SEP]😀",
]
PIECES = [
    "吾輩",
    "は",
    "猫",
    "である",
    "。",
    "##ある",
    "で",
    "名前",
    "東京",
    "##京",
    "東",
    "Hello",
    "hello",
    "##llo",
    "he",
    "A",
    "B",
]
CHARACTERS = list("吾輩は猫であ。名前まだ無い東京の高さmカキガギAabchelo1236")
KINDS = [
    {"word_tokenizer_type": "mecab"},
    {"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "ipadic"}, "do_lower_case": True},
    {"word_tokenizer_type": "mecab", "mecab_kwargs": {"normalize_text": False}},
    {"word_tokenizer_type": "mecab", "subword_tokenizer_type": "character"},
    {"word_tokenizer_type": "basic", "subword_tokenizer_type": "character", "do_lower_case": True},
    {"word_tokenizer_type": "basic", "never_split": ["Hello"]},
    {"do_word_tokenize": False, "subword_tokenizer_type": "character"},
    {"word_tokenizer_type": "mecab", "do_subword_tokenize": False},
]


def folder(place: Path, **options: Any) -> Path:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = dict.fromkeys([*special, *PIECES, *CHARACTERS, *(f"##{char}" for char in CHARACTERS)])
    (place / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "BertJapaneseTokenizer", "do_lower_case": False, "model_max_length": 512, **options}
    (place / "tokenizer_config.json").write_text(json.dumps(config))
    (place / "config.json").write_text(json.dumps({"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}))
    return place


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_same_as_the_reference(options: dict[str, Any], tmp_path: Path) -> None:
    ours = AutoTokenizer.from_pretrained(folder(tmp_path, **options))
    theirs = transformers.BertJapaneseTokenizer.from_pretrained(tmp_path)
    assert isinstance(ours, BertJapaneseTokenizer)
    for text in TEXTS:
        assert ours.tokenize(text) == theirs.tokenize(text), text
        assert ours(text).data == dict(theirs(text))
        ids = ours(text)["input_ids"]
        assert ours.decode(ids) == theirs.decode(ids)
    assert ours(TEXTS, TEXTS[::-1], return_token_type_ids=True).data == dict(
        theirs(TEXTS, TEXTS[::-1], return_token_type_ids=True)
    )
    assert copy.deepcopy(ours)(TEXTS).data == ours(TEXTS).data
    ours.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")(TEXTS).data == ours(TEXTS).data
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")(TEXTS)["input_ids"] == ours(TEXTS).input_ids


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_tokens_stand_where_they_come_from(options: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder(tmp_path, **options))
    for text in TEXTS:
        encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        spans = encoding["offset_mapping"]
        assert len(spans) == len(encoding["input_ids"]) == len(encoding.word_ids())
        assert all(start < stop <= len(text) for start, stop in spans)
        assert spans == sorted(spans)
    if options.get("word_tokenizer_type") == "mecab" and options.get("do_subword_tokenize", True):
        encoding = tokenizer(TEXTS[0], return_offsets_mapping=True, add_special_tokens=False)
        pieces = [TEXTS[0][slice(*span)] for span in encoding["offset_mapping"]]
        assert "".join(pieces) == TEXTS[0]
        found = zip(pieces, encoding.tokens(), strict=True)
        assert all(token in ("[UNK]", piece, f"##{piece}") for piece, token in found)


def test_what_is_not_run_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"BertJapaneseTokenizer, .* bertie.AutoTokenizer"):
        BertTokenizer.from_pretrained(folder(tmp_path))
    for options, name in (
        ({"word_tokenizer_type": "sudachi"}, "sudachi"),
        ({"word_tokenizer_type": "jumanpp"}, "jumanpp"),
        ({"subword_tokenizer_type": "sentencepiece"}, "sentencepiece"),
        ({"word_tokenizer_type": "mecab", "mecab_kwargs": {"mecab_dic": "unidic"}}, "unidic"),
    ):
        with pytest.raises(InputError, match=f"'{name}', which bertie does not support"):
            AutoTokenizer.from_pretrained(folder(tmp_path, **options))


def test_mecab_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fugashi", None)
    with pytest.raises(bertie.BertieError, match=r"fugashi"):
        AutoTokenizer.from_pretrained(folder(tmp_path, word_tokenizer_type="mecab"))
