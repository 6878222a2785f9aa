"""A ``tokenizer.json`` that is not BERT's own is run as it stands: equal to transformers' tokenizer of its folder."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from test_tokenizers import EVERYTHING, HYPOTHESIS, ODD_TEXT, cannot_fit, differing, languages, modes
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

import bertie
from bertie import AutoTokenizer, BertTokenizer, BertTokenizerLegacy, CheckpointError

Rust = tokenizers.Tokenizer
BERT = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
ROBERTA = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}


def bert(vocabulary: dict[str, int], **options: Any) -> Rust:
    """BERT's own pipeline, of which each case changes something."""
    rust = Rust(models.WordPiece(vocabulary, unk_token="[UNK]", **options))
    rust.normalizer = normalizers.BertNormalizer()
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(prefix="##")
    special = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    rust.add_special_tokens(list(BERT.values()))
    return rust


def changed(**parts: Any) -> Callable[[dict[str, int]], Rust]:
    def make(vocabulary: dict[str, int]) -> Rust:
        rust = bert(vocabulary)
        for name, part in parts.items():
            setattr(rust, name, part)
        return rust

    return make


def with_added(vocabulary: dict[str, int]) -> Rust:
    rust = changed(pre_tokenizer=pre_tokenizers.Whitespace())(vocabulary)
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    rust.add_tokens(
        [AddedToken(f"the{i}", **{flag: bool(i >> n & 1) for n, flag in enumerate(flags)}) for i in range(16)]
    )
    rust.add_special_tokens([AddedToken("<e>", lstrip=True, rstrip=True), AddedToken("ab", normalized=True)])
    return rust


def roberta(vocabulary: dict[str, int]) -> Rust:
    special = {token: vocabulary[token] for token in ("[CLS]", "[SEP]")}
    post = processors.RobertaProcessing(("[SEP]", special["[SEP]"]), ("[CLS]", special["[CLS]"]))
    return changed(post_processor=post)(vocabulary)


def odd_types(vocabulary: dict[str, int]) -> Rust:
    special = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    post = processors.TemplateProcessing(
        single="$A:1 [SEP]:1 [CLS]:2", pair="$A:1 [SEP]:1 $B:0 [SEP]:0 [CLS]:2", special_tokens=special
    )
    return changed(post_processor=post)(vocabulary)


def begins_only(vocabulary: dict[str, int]) -> Rust:
    post = processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", vocabulary["[CLS]"])]
    )
    return changed(post_processor=post)(vocabulary)


BLANK = pre_tokenizers.Whitespace()
PLAIN = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
CASES: dict[str, Callable[[dict[str, int]], Rust]] = {
    "Whitespace": changed(pre_tokenizer=BLANK),
    "Digits": changed(pre_tokenizer=pre_tokenizers.Sequence([BLANK, pre_tokenizers.Digits(individual_digits=True)])),
    "no pre-tokenizer": changed(pre_tokenizer=None),
    "NFD, Lowercase, StripAccents": changed(normalizer=PLAIN),
    "Replace": changed(
        normalizer=normalizers.Sequence([normalizers.Replace("ab", "the"), normalizers.BertNormalizer()])
    ),
    "no normalizer": changed(normalizer=None),
    "not cleaned": changed(normalizer=normalizers.BertNormalizer(clean_text=False)),
    "[CLS] $A": begins_only,
    "no post-processor": changed(post_processor=None),
    "RoBERTa's post-processor": roberta,
    "odd types": odd_types,
    "short words": lambda vocabulary: bert(vocabulary, max_input_chars_per_word=6),
    "long words": lambda vocabulary: bert(vocabulary, max_input_chars_per_word=300),
    "other prefix": lambda vocabulary: bert(vocabulary, continuing_subword_prefix="@@"),
    "added tokens": with_added,
    "no clean-up in decoding": changed(decoder=decoders.WordPiece(prefix="##", cleanup=False)),
}


def trained(kind: str, texts: list[str]) -> Rust:
    """A small Unigram like XLM-R's, a byte-level BPE like RoBERTa's, or words as they stand."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if kind == "Unigram":
        rust = Rust(models.Unigram())
        rust.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
        )
        rust.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
        rust.decoder = decoders.Metaspace()
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=1000, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    elif kind == "BPE":
        rust = Rust(models.BPE())
        rust.pre_tokenizer, rust.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=800, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    else:
        rust = Rust(models.WordLevel(unk_token="<unk>"))
        rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    rust.train_from_iterator(texts, trainer)
    rust.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    ids = [(token, rust.token_to_id(token)) for token in ("<s>", "</s>")]
    rust.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids
    )
    if kind == "BPE":
        rust.post_processor = processors.RobertaProcessing(ids[1], ids[0], trim_offsets=True, add_prefix_space=False)
    return rust


@cache
def folder_of(case: str, shared: Path, place: Path) -> Path:
    """A model folder with the case's tokenizer.json, in which padding and truncation are on, and what it is named."""
    folder = place / case.replace(" ", "-")
    folder.mkdir(parents=True)
    if case in CASES:
        lines = (shared / "models" / "bertie-mini-uncased" / "vocab.txt").read_text(encoding="utf-8").split("\n")
        words = {token: number for number, token in enumerate(lines[:6000])}
        rust, names = CASES[case](words), BERT
    else:
        rust, names = trained(case, languages(shared, 2)), ROBERTA
    rust.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizers")


def both(case: str, shared: Path, place: Path) -> tuple[Any, Any]:
    folder = folder_of(case, shared, place)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder, clean_up_tokenization_spaces=False)
    return AutoTokenizer.from_pretrained(folder), theirs


ALL = [*CASES, "Unigram", "BPE", "WordLevel"]
ODD = [
    "",
    " ",
    "the8 xthe8 THE8, the1the2 a the3 b <e>  <mask> ab [MASK] don't",
    "x" * 250,
    "a1b22 café CAFÉ\u0301 ﬁ ① 漢字",
    "\x07\u200b",
]


@pytest.mark.parametrize("case", ALL)
def test_ids_offsets_words_and_masks(case: str, shared: Path, place: Path) -> None:
    ours, theirs = both(case, shared, place)
    texts = languages(shared, 4)[::5] + ODD
    options = {"verbose": False, "return_token_type_ids": True, **EVERYTHING}
    assert not differing(ours, theirs, texts, **options)
    assert not differing(ours, theirs, texts, texts[1:] + texts[:1], **options)
    assert not differing(ours, theirs, texts, texts[1:] + texts[:1], add_special_tokens=False, **options)
    assert not differing(ours, theirs, texts, split_special_tokens=True, **options)
    words = [text.split() or ["a"] for text in texts[::3]]
    assert not differing(ours, theirs, words, is_split_into_words=True, **options)
    decoded = [tokenizer.batch_decode(theirs(texts)["input_ids"]) for tokenizer in (ours, theirs)]
    assert decoded[0] == decoded[1]
    tokens = theirs.tokenize(texts[0])
    assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
    assert ours.get_vocab() == theirs.get_vocab()
    assert len(ours) == len(theirs)
    assert ours.added_tokens_encoder == theirs.added_tokens_encoder
    for pair in (False, True):
        assert ours.num_special_tokens_to_add(pair) == theirs.num_special_tokens_to_add(pair)
    pairs = ours(texts, texts, return_tensors="packed", return_token_type_ids=True).token_type_ids.tolist()
    assert pairs == list(chain.from_iterable(theirs(texts, texts, return_token_type_ids=True)["token_type_ids"]))
    assert ours(texts, return_tensors="packed").lengths == tuple(map(len, theirs(texts)["input_ids"]))


@pytest.mark.parametrize("case", ["Unigram", "Whitespace", "[CLS] $A", "odd types", "RoBERTa's post-processor"])
def test_padding_truncation_and_windows(case: str, shared: Path, place: Path) -> None:
    ours, theirs = both(case, shared, place)
    texts = [text for text in languages(shared, 40)[5::911] if len(text.split()) > 3]
    shorter = [text[:40] for text in texts[1:]] + [texts[0]]
    compared = 0
    for second, side in (([], "right"), ([shorter], "right"), ([shorter], "left")):
        ours.truncation_side = theirs.truncation_side = side
        for mode in modes(bool(second)):
            if not cannot_fit(ours, texts, second, mode):
                # a window's tokens have the types that the template says, in the reference those before it was applied
                typed = case in ("Whitespace", "RoBERTa's post-processor") or not mode.get("return_overflowing_tokens")
                options = {"verbose": False, "return_token_type_ids": typed, **EVERYTHING}
                assert not differing(ours, theirs, texts, *second, **mode, **options)
                compared += 1
    assert compared > 100


both_once = cache(both)


@HYPOTHESIS
@given(text=ODD_TEXT, case=st.sampled_from(ALL))
def test_odd_text(text: str, case: str, shared: Path, place: Path) -> None:
    ours, theirs = both_once(case, shared, place)
    assert not differing(ours, theirs, [text], **EVERYTHING)


@pytest.mark.parametrize("case", ["Unigram", "added tokens"])
def test_saved_pickled_and_opened_by_transformers(case: str, shared: Path, place: Path, tmp_path: Path) -> None:
    ours, _ = both(case, shared, place)
    ours.add_tokens(["newer"])
    text = "newer the8 THE8, a <mask> ab"
    expected = ours(text, "b newer")
    ours.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    again = [copy.deepcopy(ours), AutoTokenizer.from_pretrained(tmp_path)]
    again += [BertTokenizer(tokenizer_file=tmp_path / "tokenizer.json")]
    again += [BertTokenizer(tokenizer_object=ours.backend_tokenizer)]
    again += [transformers.AutoTokenizer.from_pretrained(tmp_path)]
    assert all(one(text, "b newer")["input_ids"] == expected["input_ids"] for one in again)
    assert again[1].special_tokens_map == ours.special_tokens_map
    with pytest.raises(bertie.InputError, match="only tokenizer.json"):
        ours.save_pretrained(tmp_path, legacy_format=True)
    with pytest.raises(CheckpointError, match="another pipeline than BERT's"):
        BertTokenizerLegacy.from_pretrained(tmp_path)


def test_an_encoder_with_a_unigram_tokenizer(shared: Path, place: Path, tmp_path: Path) -> None:
    """As paraphrase-multilingual-MiniLM-L12-v2 and multilingual-e5-small are: the vectors of a text are the same."""
    folder = folder_of("Unigram", shared, place)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    theirs = transformers.BertModel(transformers.BertConfig(vocab_size=len(tokenizer), **sizes)).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["Alle Menschen sind frei", "すべての人間は", "все люди рождаются свободными и равными"]
    batch = transformers.AutoTokenizer.from_pretrained(tmp_path)(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][:, :, None]
    hidden = theirs(**batch).last_hidden_state * mask
    expected = (hidden.sum(1) / mask.sum(1)).detach().numpy()
    pipe = bertie.pipeline("embed", tmp_path)
    assert pipe(texts) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("case", ["Unigram", "BPE", "Whitespace"])
def test_entities_are_the_reference_s(case: str, shared: Path, place: Path, tmp_path: Path) -> None:
    ours, theirs = both(case, shared, place)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    labels = dict(enumerate(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]))
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(ours), id2label=labels, initializer_range=1.0, **sizes)
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path)
    ours.save_pretrained(tmp_path)
    texts = [text.strip() for text in languages(shared, 3)[3::60]]
    for strategy in ("none", "simple", "first", "average", "max"):
        options: dict[str, Any] = {"aggregation_strategy": strategy, "ignore_labels": []}
        expected = transformers.pipeline("token-classification", str(tmp_path), tokenizer=theirs, **options)(texts)
        found = bertie.pipeline("token-classification", tmp_path, **options)(texts)
        for one, other in zip(found, expected, strict=True):
            assert [{**entity, "score": None} for entity in one] == [{**entity, "score": None} for entity in other]
            # weights of deviation 1 magnify what is rounded, in one version of PyTorch more than in another
            assert [e["score"] for e in one] == pytest.approx([float(e["score"]) for e in other], abs=3e-5)


def test_flags_come_from_tokenizer_json(mini: Path, tmp_path: Path) -> None:
    tokenizer = BertTokenizer(mini / "vocab.txt")
    tokenizer.add_tokens([AddedToken("xyz", single_word=True, normalized=False)])
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["added_tokens_decoder"]["30522"] |= {"single_word": False, "lstrip": True}
    path.write_text(json.dumps(config))
    for found in (BertTokenizer.from_pretrained(tmp_path), BertTokenizerLegacy.from_pretrained(tmp_path)):
        assert found.added_tokens_decoder[30522].single_word
        assert found.tokenize("axyz xyz") == tokenizer.tokenize("axyz xyz") == ["ax", "##y", "##z", "xyz"]
    path.unlink()
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert theirs.tokenize("axyz xyz") == ["ax", "##y", "##z", "xyz"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fork_after_use(shared: Path, place: Path) -> None:
    """In a process of its own, whose threads of `tokenizers` have worked before the fork."""
    program = f"""
import os
from bertie import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(folder_of("Unigram", shared, place))!r})
texts = ["alle Menschen sind frei"] * 100
expected = tokenizer(texts)["input_ids"]
child = os.fork()
if child == 0:
    os._exit(0 if tokenizer(texts)["input_ids"] == expected else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    ran = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
