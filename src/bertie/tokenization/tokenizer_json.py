"""What a ``tokenizer.json`` states: exactly BERT's pipeline, which the fast path runs, or one for ``tokenizers``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bertie.errors import CheckpointError
from bertie.files import checked_values, read_json
from bertie.tokenization.encoding import Special, bert_frames
from bertie.tokenization.file_backend import frames_of
from bertie.tokenization.file_rules import LARGEST_ID, MODEL, NORMALIZER, SERIALIZED, SERIALIZED_TOKEN
from bertie.tokenization.wordpiece import MAX_WORD

NORMALIZER_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""The constructor's names of what a ``BertNormalizer`` does."""
_MODEL = {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": MAX_WORD}
_PRE_TOKENIZER = {"type": "BertPreTokenizer"}
_DECODER = {"type": "WordPiece", "prefix": "##", "cleanup": True}
_POST_PROCESSORS = ("TemplateProcessing", "BertProcessing")


def read_serialized(path: Path, name: str) -> dict[str, Any]:
    """Return the content of the ``tokenizer.json`` of ``name``.

    Raises:
        CheckpointError: it is damaged, has no model, or a value of the wrong kind.
    """
    serialized = read_json(path, "tokenizer", SERIALIZED)
    where = f"the tokenizer.json of {name!r}"
    model = serialized.get("model") or {}
    if model.get("type", "WordPiece") == "WordPiece":
        checked_values(model, MODEL, f"{where}: its 'model'")
    if not model.get("vocab"):
        raise CheckpointError(f"{where} holds no model with a vocabulary; fetch it again")
    normalizer = serialized.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        checked_values(normalizer, NORMALIZER, f"{where}: its 'normalizer'")
    for token in serialized.get("added_tokens") or ():
        checked_values(token, SERIALIZED_TOKEN, f"{where}: an added token")
    return serialized


def parsed(serialized: Mapping[str, Any], name: str) -> Tokenizer:
    """Return the tokenizer that a file states.

    Raises:
        CheckpointError: ``tokenizers`` cannot read it.
    """
    try:
        return Tokenizer.from_str(json.dumps(serialized))
    except Exception as error:  # tokenizers raises nothing more special
        raise CheckpointError(
            f"the tokenizer.json of {name!r} cannot be read by the package tokenizers ({str(error)[:200]}); "
            "repair it, fetch it again, or install a newer tokenizers"
        ) from error


def bert_arguments(serialized: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the arguments of `BertTokenizer` that make the same tokenizer; None if the pipeline is not BERT's.

    Raises:
        CheckpointError: ``tokenizers`` cannot read the file.
    """
    model = serialized["model"]
    vocabulary = model["vocab"]
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(vocabulary, dict):
        return None
    vocabulary = _checked(vocabulary, name)
    # without its words, which may be many, it is read in no time
    whole = {"type": "WordPiece", **model, "vocab": {}}
    small = parsed({**serialized, "model": whole, "added_tokens": [], "padding": None, "truncation": None}, name)
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
    options = {ours: state["normalizer"][theirs] for ours, theirs in NORMALIZER_FIELDS.items()}
    return {"vocab": vocabulary, "unk_token": state["model"]["unk_token"], **options, **special}


def _special_tokens(small: Tokenizer, vocabulary: Mapping[str, int]) -> dict[str, str] | None:
    """Return what begins a row and what ends it, if rows are BERT's."""
    frames = frames_of(small, True)
    before, behind = frames[0].gaps
    if len(before) != 1 or len(behind) != 1:
        return None
    cls, sep = before[0].token, behind[0].token
    expected = [Special(vocabulary[token], token) for token in (cls, sep) if token in vocabulary]
    if len(expected) != 2 or frames != bert_frames(*expected):
        return None
    return {"cls_token": cls, "sep_token": sep}


def _checked(vocabulary: Mapping[str, Any], name: str) -> Mapping[str, int]:
    ids = vocabulary.values()
    if {*map(type, ids)} != {int} or not (min(ids) >= 0 and max(ids) <= LARGEST_ID):
        raise CheckpointError(
            f"the tokenizer.json of {name!r} holds no vocabulary of token → id (a number up to {LARGEST_ID})"
        )
    return vocabulary
