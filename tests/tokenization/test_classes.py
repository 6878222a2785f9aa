"""``tokenizer_class``: names of BERT's class are read, a tokenizer.json is run, other classes are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import processors

import bertie
from bertie import AutoTokenizer, BertTokenizer, BertTokenizerLegacy, CheckpointError, progress
from bertie.errors import MissingVocabularyError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>", "hello", "world"]


def folder(
    place: Path, name: str, where: str = "tokenizer_config.json", serialized: bool = False, **config: Any
) -> Path:
    (place / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (place / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (place / where).write_text(json.dumps({"tokenizer_class": name, **config}))
    if serialized:
        rust = BertTokenizer(place / "vocab.txt").backend_tokenizer
        rust.post_processor = processors.RobertaProcessing(("</s>", 6), ("<s>", 5))
        rust.save(str(place / "tokenizer.json"))
        (place / "vocab.txt").unlink()
    return place


@pytest.mark.parametrize("name", ["BertTokenizerFast", "BertTokenizer", "ElectraTokenizerFast", "MobileBertTokenizer"])
@pytest.mark.parametrize("where", ["tokenizer_config.json", "config.json"])
def test_other_names_of_berts_class(name: str, where: str, tmp_path: Path) -> None:
    for door in (AutoTokenizer, BertTokenizer, BertTokenizerLegacy):
        assert door.from_pretrained(folder(tmp_path, name, where))("hello world")["input_ids"] == [2, 9, 10, 3]


@pytest.mark.parametrize("name", ["MPNetTokenizer", "RoFormerTokenizerFast", "KoBertTokenizer", "XLMRobertaTokenizer"])
@pytest.mark.parametrize("where", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("door", [AutoTokenizer, BertTokenizer, BertTokenizerLegacy])
def test_other_classes_are_refused_by_name(name: str, where: str, door: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"is a {name.removesuffix('Fast')}, .* transformers"):
        door.from_pretrained(folder(tmp_path, name, where))


def test_a_class_that_runs_its_file_needs_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a PreTrainedTokenizer, .* there is none"):
        AutoTokenizer.from_pretrained(folder(tmp_path, "PreTrainedTokenizerFast"))


def test_a_class_that_does_more_than_its_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"RoFormerTokenizer, which cuts Chinese into words with jieba"):
        AutoTokenizer.from_pretrained(folder(tmp_path, "RoFormerTokenizer", serialized=True))


@pytest.mark.parametrize("name", ["MPNetTokenizer", "XLMRobertaTokenizerFast", "PreTrainedTokenizerFast"])
def test_a_file_is_run_whatever_the_class(name: str, tmp_path: Path) -> None:
    ours = AutoTokenizer.from_pretrained(folder(tmp_path, name, serialized=True))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert dict(ours("hello", "world")) == dict(theirs("hello", "world"))
    assert ours("hello", "world")["input_ids"] == [5, 9, 6, 6, 10, 6]
    with pytest.raises(CheckpointError, match="another pipeline than BERT's"):
        AutoTokenizer.from_pretrained(tmp_path, use_fast=False)
    if name != "PreTrainedTokenizerFast":
        assert (ours.cls_token, ours.pad_token, ours.mask_token_id) == ("<s>", "<pad>", 8)
    # the vocabulary has no <unk>, and gets none
    assert len(ours) == len(WORDS)


def test_mpnets_own_class_gives_the_same(tmp_path: Path) -> None:
    ours = AutoTokenizer.from_pretrained(folder(tmp_path, "MPNetTokenizerFast", serialized=True))
    theirs = transformers.MPNetTokenizer.from_pretrained(tmp_path)
    for pair in ((), ("world",)):
        assert ours("Hello there", *pair)["input_ids"] == theirs("Hello there", *pair)["input_ids"]


def test_a_class_without_token_types(tmp_path: Path) -> None:
    """As in the reference, neither a call nor a task passes token types to a model whose class has none."""
    ours = AutoTokenizer.from_pretrained(folder(tmp_path, "DistilBertTokenizer"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert dict(ours("hello", "world")) == dict(theirs("hello", "world"))
    assert "token_type_ids" not in ours("hello", "world")
    assert [row.type_ids for row in ours.rows([("hello", "world")])] == [[0] * 5]
    assert not ours("hello", "world", return_tensors="packed").token_type_ids.any()
    assert ours("hello", "world", return_token_type_ids=True)["token_type_ids"] == [0, 0, 0, 1, 1]
    ours.save_pretrained(tmp_path / "saved")
    assert "token_type_ids" not in AutoTokenizer.from_pretrained(tmp_path / "saved")("hello", "world")


def test_a_missing_cls_token_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cls_token is None, .* name a token"):
        AutoTokenizer.from_pretrained(folder(tmp_path, "BertTokenizer", cls_token=None))
    tokenizer = BertTokenizer(tmp_path / "vocab.txt")
    tokenizer.cls_token = None
    with pytest.raises(bertie.InputError, match=r"cls_token is None, .* set tokenizer.cls_token"):
        tokenizer("hello")
    assert tokenizer("hello", add_special_tokens=False)["input_ids"] == [9]
    # a tokenizer.json has its own template of rows
    ours = AutoTokenizer.from_pretrained(folder(tmp_path, "BertTokenizer", serialized=True, cls_token=None))
    assert ours.cls_token is None
    assert ours("hello")["input_ids"] == [5, 9, 6]
    tokenizer = BertTokenizer(folder(tmp_path, "BertTokenizer", cls_token=None) / "vocab.txt")
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert AutoTokenizer.from_pretrained(tmp_path)("hello")["input_ids"] == [2, 9, 3]


def test_a_missing_vocabulary_is_also_a_value_error(tmp_path: Path) -> None:
    for make in (lambda: BertTokenizer(tmp_path / "no.txt"), lambda: AutoTokenizer.from_pretrained(tmp_path)):
        with pytest.raises(MissingVocabularyError):
            make()
    assert issubclass(MissingVocabularyError, ValueError)
    assert issubclass(MissingVocabularyError, OSError)


@pytest.mark.parametrize("cls", [BertTokenizer, BertTokenizerLegacy])
def test_options_of_other_tokenizers_are_accepted_and_reported(
    cls: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_said", set())
    others = {"add_prefix_space": True, "legacy": False, "src_lang": "en"}
    place = folder(tmp_path, "BertTokenizer")
    first = cls.from_pretrained(place, from_slow=True, use_auth_token=None, **others)
    second = cls(vocab=place / "vocab.txt", **others)
    expected = [2, 9, 3]
    assert first("hello", pad_to_max_length=True)["input_ids"] == second("hello")["input_ids"] == expected
    assert "add_prefix_space, legacy, src_lang: without effect on" in caplog.text
    assert "padding='max_length'" in caplog.text
    with pytest.raises(bertie.InputTypeError, match="Did you mean 'do_lower_case'"):
        cls.from_pretrained(place, do_lowercase=True)


def test_a_tokenizer_file(tmp_path: Path) -> None:
    tokenizer = BertTokenizer(folder(tmp_path, "BertTokenizer") / "vocab.txt")
    tokenizer.backend_tokenizer.save(str(tmp_path / "mine.json"))
    for cls in (bertie.BertTokenizerFast, BertTokenizer):
        found = cls(tokenizer_file=str(tmp_path / "mine.json"), model_max_length=7)
        assert found("Hello world")["input_ids"] == [2, 9, 10, 3]
        assert (found.states_bert, found.model_max_length) == (True, 7)
    assert BertTokenizer(tokenizer_file=tmp_path / "mine.json", do_lower_case=False).tokenize("Hello") == ["[UNK]"]
    (tmp_path / "mine.json").rename(tmp_path / "mine")
    assert BertTokenizer(tokenizer_file=tmp_path / "mine").vocab == tokenizer.vocab
    with pytest.raises(MissingVocabularyError, match="there is no tokenizer file"):
        BertTokenizer(tokenizer_file=tmp_path / "mine.json")
    (tmp_path / "mine").rename(tmp_path / "mine.json")
    with pytest.raises(bertie.InputError, match="exclude each other"):
        BertTokenizer(tmp_path / "vocab.txt", tokenizer_file=tmp_path / "mine.json")
    rust = tokenizers.Tokenizer.from_file(str(tmp_path / "mine.json"))
    given = BertTokenizer(tokenizer_object=rust)
    rust.add_tokens(["new"])
    assert len(given) == len(WORDS)
    assert given("hello world")["input_ids"] == [2, 9, 10, 3]
