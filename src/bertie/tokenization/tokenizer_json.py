"""``tokenizer.json``: it states exactly BERT's pipeline, which the kernel runs, or another one for ``tokenizers``."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from bertie.errors import CheckpointError
from bertie.files import checked_values, read_bytes, read_json
from bertie.messages import short
from bertie.progress import say_once
from bertie.rules import Rule
from bertie.tokenization.classes import defaults, is_bert
from bertie.tokenization.encoding import SpecialToken, bert_templates
from bertie.tokenization.rust_backend import FileBackend, templates_of
from bertie.tokenization.vocab_mixin import NAMES, checked_token
from bertie.tokenization.vocabulary import VOCABULARY_LIMIT, Vocabulary, read_vocabulary
from bertie.tokenization.wordpiece import MAX_WORD

_NORMALIZER_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Option of the constructor → field of ``BertNormalizer``."""
_MODEL = {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": MAX_WORD}
_PRE_TOKENIZER = {"type": "BertPreTokenizer"}
_DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}
_POST_PROCESSORS = ("TemplateProcessing", "BertProcessing")
LARGEST_ID = 10_000_000 - 1  # a config's vocab_size is at most 10 million


def all_of_kind(names: str, kind: str, none: bool = False) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), Rule(names, kind, none=none))


_ADDED_TOKEN = all_of_kind("content", "string") | all_of_kind(
    "special single_word lstrip rstrip normalized", "true or false"
)
_SERIALIZED_TOKEN = _ADDED_TOKEN | {"id": Rule("its number", "integer", 0, LARGEST_ID)}
_SERIALIZED = (
    all_of_kind("model", "mapping")
    | all_of_kind("added_tokens", "list", none=True)
    | all_of_kind("normalizer pre_tokenizer post_processor decoder", "mapping", none=True)
)
_NORMALIZER = all_of_kind("clean_text handle_chinese_chars lowercase", "true or false") | all_of_kind(
    "strip_accents", "true or false", none=True
)
_MODEL_VALUES = all_of_kind("unk_token continuing_subword_prefix", "string") | {
    "max_input_chars_per_word": Rule("", "integer", 0, 2**31 - 1)
}


def read_stated(
    files: Mapping[str, Path],
    name: str,
    stated: str | None,
    config: dict[str, Any],
    options: Mapping[str, Any],
    *,
    fast: bool,
) -> dict[str, Any]:
    """Return ``config`` with what ``tokenizer.json`` states: BERT's arguments, or a tokenizer to run unchanged."""
    serialized = _read(files["tokenizer.json"], name)
    # classes other than BERT's only run the file
    _override(serialized, {**(config if is_bert(stated) else {}), **options}, options, name)
    found = _bert_arguments(serialized, name)
    of_rows = ("unk_token", "cls_token", "sep_token")
    named = {token: config[token] for token in of_rows if config.get(token) is not None}
    if found is not None and all(str(token) == found[one] for one, token in named.items()):
        _compare(found["vocab"], files.get("vocab.txt"), name)
    elif found is not None and is_bert(stated):
        one = next(one for one, token in named.items() if str(token) != found[one])
        raise CheckpointError(
            f"{one} is {str(named[one])!r:.60} in the tokenizer_config.json of {name!r} and {found[one]!r:.60} in its "
            "tokenizer.json; correct one of them"
        )
    elif not fast:
        raise CheckpointError(
            f"the tokenizer.json of {name!r} states another pipeline than BERT's, which only the fast tokenizer runs; "
            "leave use_fast=False out, or use BertTokenizer"
        )
    else:
        rust = _parsed(serialized, name)
        # the token that the file pads with is the padding token, unless the config names one
        padding = {"pad_token": rust.padding["pad_token"]} if rust.padding else {}
        found = {**padding, **_without_missing(config, defaults(stated), rust)}
        found["tokenizer_object"] = FileBackend(rust)
    kept = config if found.get("tokenizer_object") is None else {}
    return {**kept, **found, "added_tokens_decoder": _all_added(serialized, config, name)}


def token_of(stated: Any, where: str) -> str | AddedToken:
    """Return a token that a file states, as a text or a mapping with its flags."""
    if not isinstance(stated, str | AddedToken) and "content" not in checked_values(stated, _ADDED_TOKEN, where):
        raise CheckpointError(f"{where} is {short(stated)}, without 'content'; allowed: a text, or a mapping with it")
    return checked_token(where, stated)


def added_tokens_of(entries: Iterable[tuple[Any, Any]], where: str) -> dict[int, AddedToken]:
    """Return id → added token from the entries of a file."""
    decoder: dict[int, AddedToken] = {}
    for index, token in entries:
        # 10 million has 8 digits; Python refuses to convert very long ones
        if not re.fullmatch(r"\d{1,8}", str(index), re.ASCII) or int(index) > LARGEST_ID:
            raise CheckpointError(
                f"{where}: the added token {short(token)} has the id {short(index)}; "
                f"allowed: a number up to {LARGEST_ID}"
            )
        made = token_of(token, f"{where}, the added token {index}")
        decoder[int(index)] = AddedToken(made) if isinstance(made, str) else made
    return decoder


def _read(path: Path, name: str) -> dict[str, Any]:
    serialized = read_json(path, "tokenizer", _SERIALIZED)
    where = f"the tokenizer.json of {name!r}"
    model = serialized.get("model") or {}
    if model.get("type", "WordPiece") == "WordPiece":
        checked_values(model, _MODEL_VALUES, f"{where}: its 'model'")
    if not model.get("vocab"):
        raise CheckpointError(f"{where} holds no model with a vocabulary; fetch it again")
    normalizer = serialized.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        checked_values(normalizer, _NORMALIZER, f"{where}: its 'normalizer'")
    for token in serialized.get("added_tokens") or ():
        checked_values(token, _SERIALIZED_TOKEN, f"{where}: an added token")
    return serialized


def _parsed(serialized: Mapping[str, Any], name: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(json.dumps(serialized))
    except Exception as error:  # tokenizers raises nothing more specific
        raise CheckpointError(
            f"the tokenizer.json of {name!r} cannot be read by the package tokenizers ({str(error)[:200]}); "
            "repair it, fetch it again, or install a newer tokenizers"
        ) from error


def _bert_arguments(serialized: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the arguments of `BertTokenizer` that give the same tokenizer; None if the pipeline is not BERT's."""
    model = serialized["model"]
    vocabulary = model["vocab"]
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(vocabulary, dict):
        return None
    vocabulary = _checked(vocabulary, name)
    # parsed without its vocabulary, which takes long
    emptied = {"type": "WordPiece", **model, "vocab": {}}
    small = _parsed({**serialized, "model": emptied, "added_tokens": [], "padding": None, "truncation": None}, name)
    state = json.loads(small.to_str())
    is_bert = (
        all(state["model"][field] == value for field, value in _MODEL.items())
        and (state["normalizer"] or {}).get("clean_text") is True
        and state["pre_tokenizer"] == _PRE_TOKENIZER
        and state["decoder"] == _DECODER
        and (state["post_processor"] or {}).get("type") in _POST_PROCESSORS
    )
    special = _special_tokens(small, vocabulary) if is_bert else None
    if special is None:
        return None
    options = {ours: state["normalizer"][theirs] for ours, theirs in _NORMALIZER_FIELDS.items()}
    return {"vocab": vocabulary, "unk_token": state["model"]["unk_token"], **options, **special}


def _special_tokens(small: Tokenizer, vocabulary: Mapping[str, int]) -> dict[str, str] | None:
    """Return the tokens that begin and end a row, or None if the post-processor's rows are not BERT's."""
    templates = templates_of(small, True)
    before, behind = templates[0].gaps
    if len(before) != 1 or len(behind) != 1:
        return None
    cls, sep = before[0].token, behind[0].token
    expected = [SpecialToken(vocabulary[token], token) for token in (cls, sep) if token in vocabulary]
    if len(expected) != 2 or templates != bert_templates(*expected):
        return None
    return {"cls_token": cls, "sep_token": sep}


def _checked(vocabulary: Mapping[str, Any], name: str) -> Vocabulary:
    ids = vocabulary.values()
    if {*map(type, ids)} != {int} or not (min(ids) >= 0 and max(ids) <= LARGEST_ID):
        raise CheckpointError(
            f"the tokenizer.json of {name!r} holds no vocabulary of token → id (a number up to {LARGEST_ID})"
        )
    return Vocabulary(vocabulary)


def _all_added(serialized: Mapping[str, Any], config: Mapping[str, Any], name: str) -> dict[int, AddedToken]:
    """Return the added tokens of both files; the flags in ``tokenizer.json`` win."""
    added = ((token.get("id"), token) for token in serialized.get("added_tokens") or ())
    own, other = added_tokens_of(added, f"the tokenizer.json of {name!r}"), config.get("added_tokens_decoder", {})
    for index in own.keys() & other.keys():
        if own[index].content != other[index].content:
            raise CheckpointError(
                f"the added token {index} is {other[index].content!r:.60} in the tokenizer_config.json of {name!r} and "
                f"{own[index].content!r:.60} in its tokenizer.json; remove the file that is not the model's"
            )
    return {**other, **own}


def _without_missing(config: Mapping[str, Any], usual: Mapping[str, Any], rust: Tokenizer) -> dict[str, Any]:
    """Return ``config`` without a class's default special tokens that the vocabulary lacks."""
    missing = {name for name in NAMES if name in usual and rust.token_to_id(usual[name]) is None}
    return {field: value for field, value in config.items() if field not in missing or value != usual[field]}


def _override(serialized: dict[str, Any], wanted: Mapping[str, Any], said: Mapping[str, Any], name: str) -> None:
    """Override the file's normalizer with the options of the caller and of ``tokenizer_config.json``."""
    normalizer: Any = serialized.get("normalizer")
    known = isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer"
    for field, theirs in _NORMALIZER_FIELDS.items():
        if field not in wanted:
            continue
        if not known:
            if field in said:
                say_once(f"{field} has no effect: the tokenizer.json of {name!r} states how texts are normalized")
        elif normalizer.get(theirs) != wanted[field]:
            if field not in said:
                say_once(
                    f"{field} is {wanted[field]} in the tokenizer_config.json of {name!r} and "
                    f"{normalizer.get(theirs)} in its tokenizer.json; the first is used"
                )
            normalizer[theirs] = wanted[field]


def _compare(vocabulary: Mapping[str, int], path: Path | None, name: str) -> None:
    """Refuse a ``vocab.txt`` that gives tokens other ids."""
    if path is None:
        return
    # nearly always the file is the same vocabulary byte for byte, which is quick to check
    in_order = list(vocabulary.values()) == list(range(len(vocabulary)))
    if in_order and read_bytes(path, "vocabulary", VOCABULARY_LIMIT) == "\n".join([*vocabulary, ""]).encode():
        return
    other = read_vocabulary(path)
    token = next((token for token in [*vocabulary, *other] if vocabulary.get(token) != other.get(token)), None)
    if token is not None:
        raise CheckpointError(
            f"tokenizer.json and vocab.txt of {name!r} differ: {token!r:.60} has the id {vocabulary.get(token)} in the "
            f"first and {other.get(token)} in the second; remove the file that is not the model's"
        )
