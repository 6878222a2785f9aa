"""The files of a model folder → a tokenizer: from ``vocab.txt`` alone, ``tokenizer.json`` alone, or both."""

import inspect
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import AddedToken

from bertie.errors import CheckpointError
from bertie.files import checked_values, read_json
from bertie.hub import member, path_or_name, resolve
from bertie.layouts import what_lies_there
from bertie.report import say_once
from bertie.rules import short
from bertie.tokenization.arguments import refuse_unknown
from bertie.tokenization.file_rules import (
    ADDED_TOKEN,
    CONFIG,
    LARGEST_ID,
    MODEL,
    NORMALIZER,
    SERIALIZED,
    SERIALIZED_TOKEN,
)
from bertie.tokenization.options import OPTION_NAMES
from bertie.tokenization.special_tokens import NAMES, checked_token
from bertie.tokenization.vocabulary import read_vocabulary

FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json")
_NORMALIZER_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# never taken from a file: they would name other files, or run code
_IGNORED = ("vocab", "vocab_file", "tokenizer_file", "name_or_path", "tokenizer_class", "init_inputs", "auto_map")
Made = TypeVar("Made")


def load(
    cls: type[Made],
    name_or_path: str | os.PathLike[str],
    hub: Mapping[str, Any],
    trust_remote_code: bool,
    options: dict[str, Any],
) -> Made:
    """Make a tokenizer of class ``cls`` from a folder, a single file, or a model's name in the hub.

    ``options`` win over ``tokenizer_config.json``, and that over what ``tokenizer.json`` says of normalisation.

    Raises:
        CheckpointError: no vocabulary, damaged files, or two vocabularies that differ.
        InputTypeError: an option that does not exist.
    """
    accepted = [*_parameters(cls), *OPTION_NAMES, "additional_special_tokens", "max_len"]
    ignored = ("use_fast", "proxies", "resume_download", "tokenizer_type", "config")
    refuse_unknown(f"{cls.__name__}.from_pretrained", [n for n in options if n not in (*accepted, *ignored)], accepted)
    if trust_remote_code:
        say_once("trust_remote_code is ignored: bertie runs no code from model folders")
    options = {name: value for name, value in options.items() if name not in ignored}
    files = _found(name_or_path, hub)
    config = _config(files)
    serialized = read_json(files["tokenizer.json"], "tokenizer", SERIALIZED) if "tokenizer.json" in files else None
    from_files = {**_of_serialized(serialized, config, str(name_or_path)), **config}
    if "vocab" not in options and "vocab_file" not in options:
        from_files["vocab"] = _vocabulary(files, serialized, str(name_or_path))
    else:
        from_files.pop("added_tokens_decoder", None)
    arguments = {**from_files, "name_or_path": str(name_or_path), **options}
    known = {name: value for name, value in arguments.items() if name in accepted}
    tokenizer: Any = cls(**known)
    kept = {name: value for name, value in config.items() if name not in accepted}
    tokenizer.init_kwargs.update(kept)
    tokenizer.chat_template = kept.get("chat_template")
    result: Made = tokenizer
    return result


def _parameters(cls: type) -> list[str]:
    parameters = inspect.signature(cls).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]


def _found(name_or_path: str | os.PathLike[str], hub: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files that there are, by name."""
    path = Path(path_or_name(name_or_path))
    if os.path.isfile(path):
        return {"tokenizer.json" if path.suffix == ".json" else "vocab.txt": path}
    folder = resolve(name_or_path, files=FILES, **hub)
    files = {name: member(folder, name) for name in FILES if (folder / name).exists()}
    if "vocab.txt" not in files and "tokenizer.json" not in files:
        raise CheckpointError(
            f"{str(name_or_path)!r} holds no tokenizer: neither vocab.txt nor tokenizer.json is in {str(folder)!r}; "
            f"{what_lies_there(name_or_path, folder, **hub) or 'copy them there from where the model came from'}"
        )
    return files


def _config(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return what the configuration files say; ``tokenizer_config.json`` wins over the older two."""
    config: dict[str, Any] = {}
    if "special_tokens_map.json" in files:
        config |= read_json(files["special_tokens_map.json"], "special tokens", CONFIG)
    if "tokenizer_config.json" in files:
        config |= read_json(files["tokenizer_config.json"], "tokenizer config", CONFIG)
    config = {name: value for name, value in config.items() if name not in _IGNORED}
    where = f"the tokenizer's files in {str(next(iter(files.values())).parent)!r}"
    for name in NAMES:
        if config.get(name) is not None:
            config[name] = _token(config[name], f"{where}, {name}")
    decoder = config.pop("added_tokens_decoder", None)
    if isinstance(decoder, dict):
        config["added_tokens_decoder"] = _decoder(decoder.items(), where)
    elif "added_tokens.json" in files:
        ids = read_json(files["added_tokens.json"], "added tokens")
        config["added_tokens_decoder"] = _decoder(
            ((index, _added(token, config)) for token, index in ids.items()), where
        )
    return config


def _token(stated: Any, where: str) -> str | AddedToken:
    """Return a token that a file states, as a text or with its switches; errors of `checked_values`."""
    if not isinstance(stated, str | AddedToken) and "content" not in checked_values(stated, ADDED_TOKEN, where):
        raise CheckpointError(f"{where} is {short(stated)}, without its 'content'; allowed: a text, or one with it")
    return checked_token(where, stated)


def _added(token: str, config: Mapping[str, Any]) -> AddedToken:
    special = token in {str(config[name]) for name in NAMES if config.get(name) is not None}
    return AddedToken(token, normalized=not special, special=special)


def _decoder(entries: Iterable[tuple[Any, Any]], where: str) -> dict[int, AddedToken]:
    """Return id → added token from what a file holds.

    Raises:
        CheckpointError: an id that is no number, or a token of the wrong kind.
    """
    decoder: dict[int, AddedToken] = {}
    for index, token in entries:
        # 10 million has 8 digits; a long one would not be read as a number
        if not re.fullmatch(r"\d{1,8}", str(index), re.ASCII) or int(index) > LARGEST_ID:
            raise CheckpointError(
                f"{where}: the added token {short(token)} has the id {short(index)}; "
                f"allowed: a number up to {LARGEST_ID}"
            )
        made = _token(token, f"{where}, the added token {index}")
        decoder[int(index)] = AddedToken(made) if isinstance(made, str) else made
    return decoder


def _of_serialized(serialized: dict[str, Any] | None, config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what ``tokenizer.json`` says of normalisation and added tokens. Its padding and truncation are left off.

    Raises:
        CheckpointError: it is not a BERT tokenizer's.
    """
    if serialized is None:
        return {}
    where = f"the tokenizer.json of {name!r}"
    if (serialized.get("model") or {}).get("type", "WordPiece") != "WordPiece":
        raise CheckpointError(f"{where} holds no WordPiece model, so it is not BERT's")
    model = checked_values(serialized.get("model"), MODEL, f"{where}: its 'model'")
    if model.get("continuing_subword_prefix", "##") != "##":
        raise CheckpointError(
            f"{where} marks pieces with {model['continuing_subword_prefix']!r:.60}, which is not BERT's '##'"
        )
    found: dict[str, Any] = {}
    normalizer = serialized.get("normalizer") or {}
    if normalizer.get("type") == "BertNormalizer":
        checked_values(normalizer, NORMALIZER, f"{where}: its 'normalizer'")
        found = {ours: normalizer[theirs] for ours, theirs in _NORMALIZER_FIELDS.items() if theirs in normalizer}
        _report_differences(found, config, name)
    else:
        say_once(f"the normalizer in the tokenizer.json of {name!r} is not BERT's and is not used")
    added = [
        checked_values(token, SERIALIZED_TOKEN, f"{where}: an added token")
        for token in serialized.get("added_tokens") or ()
    ]
    found["added_tokens_decoder"] = _decoder(((token.get("id"), token) for token in added), where)
    if isinstance(model.get("unk_token"), str):
        found["unk_token"] = model["unk_token"]
    return found


def _report_differences(found: Mapping[str, Any], config: Mapping[str, Any], name: str) -> None:
    for field, value in found.items():
        if field in config and config[field] != value:
            say_once(
                f"{field} is {config[field]} in the tokenizer_config.json of {name!r} and {value} in its "
                "tokenizer.json; the first is used"
            )


def _vocabulary(files: Mapping[str, Path], serialized: dict[str, Any] | None, name: str) -> Any:
    """Return the vocabulary, which two files must not tell differently.

    Raises:
        CheckpointError: they do, or ``tokenizer.json`` holds none.
    """
    if serialized is None:
        return files["vocab.txt"]
    vocabulary = serialized["model"].get("vocab")
    if not isinstance(vocabulary, dict) or not vocabulary or not all(map(_is_id, vocabulary.values())):
        raise CheckpointError(
            f"the tokenizer.json of {name!r} holds no vocabulary of token → id (a number up to {LARGEST_ID})"
        )
    if "vocab.txt" in files:
        other = read_vocabulary(files["vocab.txt"])
        if other != vocabulary:
            _refuse_difference(vocabulary, other, name)
    return vocabulary


def _is_id(number: object) -> bool:
    return type(number) is int and 0 <= number <= LARGEST_ID


def _refuse_difference(first: Mapping[str, int], second: Mapping[str, int], name: str) -> None:
    token = next(token for token in [*first, *second] if first.get(token) != second.get(token))
    raise CheckpointError(
        f"tokenizer.json and vocab.txt of {name!r} differ: {token!r} has the id {first.get(token)} in the one and "
        f"{second.get(token)} in the other; remove the file that does not belong to the model"
    )
