"""The files of a model folder → a tokenizer: from ``vocab.txt`` alone, ``tokenizer.json`` alone, or both."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import AddedToken

from bertie.errors import CheckpointError, MissingVocabularyError
from bertie.files import read_json
from bertie.hub import member, path_or_name, resolve
from bertie.layouts import describe_folder
from bertie.progress import say_once
from bertie.rules import Rule
from bertie.tokenization.arguments import SIDES, drop_foreign, refuse_unknown
from bertie.tokenization.classes import JAPANESE, check_class, class_of_family, defaults, stated_class
from bertie.tokenization.tokenizer import Tokenizer
from bertie.tokenization.tokenizer_json import added_tokens_of, all_of_kind, read_stated, token_of
from bertie.tokenization.vocab_mixin import NAMES

VOCABULARIES = ("tokenizer.json", "vocab.txt")
CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
# never read from a file: they would name other files, or run code
_IGNORED = ("vocab", "vocab_file", "tokenizer_file", "tokenizer_object", "name_or_path", "init_inputs", "auto_map")
_CONFIG = (
    all_of_kind(" ".join(NAMES), "string or mapping", none=True)
    | all_of_kind("do_lower_case tokenize_chinese_chars do_basic_tokenize", "true or false")
    | all_of_kind("strip_accents split_special_tokens clean_up_tokenization_spaces", "true or false", none=True)
    | dict.fromkeys(("padding_side", "truncation_side"), Rule("a side", "choice", choices=SIDES, none=True))
    | dict.fromkeys(("model_max_length", "max_len"), Rule("maximum number of tokens", "number", 1, none=True))
    | all_of_kind("never_split model_input_names", "list of strings", none=True)
    | {"pad_token_type_id": Rule("", "integer", 0, 65_535, none=True)}
    | all_of_kind("added_tokens_decoder", "mapping", none=True)
    | all_of_kind("tokenizer_class", "string", none=True)
)
Made = TypeVar("Made")


def load(
    cls: type[Made],
    name_or_path: str | os.PathLike[str],
    hub: Mapping[str, Any],
    trust_remote_code: bool,
    options: dict[str, Any],
    auto: bool = False,
) -> Made:
    """Make a tokenizer of class ``cls`` from a folder, a single file, or a model's name on the hub.

    ``options`` override ``tokenizer_config.json``, which overrides the normalization in ``tokenizer.json`` if its class
    has such options. ``auto``: the folder may name another class.
    """
    name = str(name_or_path)
    if options.get("use_auth_token") is not None and hub.get("token") is None:
        hub = {**hub, "token": options["use_auth_token"]}  # its older name
    files = _found(name_or_path, hub)
    config = _config(files)
    of_model = read_json(files["config.json"], "config") if "config.json" in files else {}
    stated = stated_class({"tokenizer_class": config.pop("tokenizer_class", None)}, of_model)
    stated = stated or class_of_family(of_model.get("model_type"))
    made = _class(cls, stated, name, auto)
    options = _known_options(made, options)
    if trust_remote_code:
        say_once("trust_remote_code is ignored: bertie runs no code from model folders")
    own_vocabulary = any(options.get(one) is not None for one in ("vocab", "vocab_file"))
    has_json = "tokenizer.json" in files and not own_vocabulary and stated != JAPANESE
    check_class(stated, name, has_json)
    from_files = {**defaults(stated), **config}
    if own_vocabulary:
        from_files.pop("added_tokens_decoder", None)
    elif has_json:
        from_files = read_stated(files, name, stated, from_files, options, fast=made.is_fast)
    elif "vocab.txt" in files:
        from_files["vocab"] = files["vocab.txt"]
    else:
        raise CheckpointError(f"the {JAPANESE} of {name!r} has no vocab.txt; fetch that file too")
    accepted = made.option_names()
    known = {field: value for field, value in from_files.items() if field in accepted}
    tokenizer = made(**{**known, "name_or_path": name, **options})
    kept = {field: value for field, value in config.items() if field not in accepted}
    tokenizer.init_kwargs.update(kept)
    tokenizer.chat_template = kept.get("chat_template")
    return tokenizer


def _class(cls: Any, stated: str | None, name: str, auto: bool) -> Any:
    """Return the class to be loaded: ``cls``, or the Japanese one."""
    if stated != JAPANESE:
        return cls
    from bertie.tokenization.japanese import BertJapaneseTokenizer

    if auto or issubclass(cls, BertJapaneseTokenizer):
        return BertJapaneseTokenizer
    raise CheckpointError(
        f"the tokenizer of {name!r} is a {JAPANESE}, which splits Japanese into words first; "
        "load it with bertie.AutoTokenizer.from_pretrained"
    )


def _known_options(cls: type[Tokenizer], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those that have no effect here; refuse unknown ones."""
    ignored = ("use_fast", "proxies", "resume_download", "tokenizer_type", "config")
    accepted = cls.option_names()
    options = drop_foreign(cls.__name__, options)
    refuse_unknown(f"{cls.__name__}.from_pretrained", [n for n in options if n not in (*accepted, *ignored)], accepted)
    return {field: value for field, value in options.items() if field not in ignored}


def _found(name_or_path: str | os.PathLike[str], hub: Mapping[str, Any]) -> dict[str, Path]:
    """Return the existing files by name."""
    path = Path(path_or_name(name_or_path))
    if os.path.isfile(path):
        with path.open("rb") as file:
            return {"tokenizer.json" if path.suffix == ".json" or file.read(1) == b"{" else "vocab.txt": path}
    names = (*VOCABULARIES, *CONFIGS)
    folder = resolve(name_or_path, files=names, **hub)
    files = {name: member(folder, name) for name in names if (folder / name).exists()}
    if not any(name in files for name in VOCABULARIES):
        raise MissingVocabularyError(
            f"{str(name_or_path)!r} holds no tokenizer: neither vocab.txt nor tokenizer.json is in {str(folder)!r}; "
            f"{describe_folder(name_or_path, folder, **hub) or 'copy them there from where the model came from'}"
        )
    return files


def _config(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the contents of the configuration files; ``tokenizer_config.json`` overrides the older two."""
    config: dict[str, Any] = {}
    if "special_tokens_map.json" in files:
        config |= read_json(files["special_tokens_map.json"], "special tokens", _CONFIG)
    if "tokenizer_config.json" in files:
        config |= read_json(files["tokenizer_config.json"], "tokenizer config", _CONFIG)
    config = {name: value for name, value in config.items() if name not in _IGNORED}
    where = f"the tokenizer's files in {str(next(iter(files.values())).parent)!r}"
    for name in NAMES:
        if config.get(name) is not None:
            config[name] = token_of(config[name], f"{where}, {name}")
    decoder = config.pop("added_tokens_decoder", None)
    if isinstance(decoder, dict):
        config["added_tokens_decoder"] = added_tokens_of(decoder.items(), where)
    elif "added_tokens.json" in files:
        ids = read_json(files["added_tokens.json"], "added tokens")
        named = {str(config[name]) for name in NAMES if config.get(name) is not None}
        added = ((ids[one], AddedToken(one, normalized=one not in named, special=one in named)) for one in ids)
        config["added_tokens_decoder"] = added_tokens_of(added, where)
    return config
