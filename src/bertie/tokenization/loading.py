"""The files of a model folder → a tokenizer: from ``vocab.txt`` alone, ``tokenizer.json`` alone, or both."""

import inspect
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import AddedToken
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import CheckpointError, MissingVocabularyError
from bertie.files import checked_values, read_json
from bertie.hub import member, path_or_name, resolve
from bertie.layouts import what_lies_there
from bertie.messages import short
from bertie.progress import say_once
from bertie.tokenization.arguments import refuse_unknown, without_others
from bertie.tokenization.classes import JAPANESE, check_class, defaults, is_bert, stated_class
from bertie.tokenization.file_backend import FileBackend
from bertie.tokenization.file_rules import ADDED_TOKEN, CONFIG, LARGEST_ID
from bertie.tokenization.options import OPTION_NAMES
from bertie.tokenization.special_tokens import NAMES, checked_token
from bertie.tokenization.tokenizer import Tokenizer
from bertie.tokenization.tokenizer_json import NORMALIZER_FIELDS, bert_arguments, parsed, read_serialized
from bertie.tokenization.vocabulary import read_vocabulary

VOCABULARIES = ("tokenizer.json", "vocab.txt")
CONFIGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json")
# never taken from a file: they would name other files, or run code
_IGNORED = (
    *("vocab", "vocab_file", "tokenizer_file", "tokenizer_object", "name_or_path", "tokenizer_class", "init_inputs"),
    "auto_map",
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
    """Make a tokenizer of class ``cls`` from a folder, a single file, or a model's name in the hub.

    ``options`` win over ``tokenizer_config.json``, and that over what ``tokenizer.json`` says of normalisation, unless
    its class has no such options. ``auto``: the folder may name another class.

    Raises:
        CheckpointError: no vocabulary, damaged files, two vocabularies that differ, or another kind of tokenizer.
        InputTypeError: an option that does not exist.
    """
    name = str(name_or_path)
    if options.get("use_auth_token") is not None and hub.get("token") is None:
        hub = {**hub, "token": options["use_auth_token"]}  # its older name
    files = _found(name_or_path, hub)
    config = _config(files)
    stated = stated_class(*(read_json(files[one], "config") for one in (CONFIGS[0], CONFIGS[-1]) if one in files))
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
        from_files = _stated(files, name, stated, from_files, options, fast=made.is_fast)
    elif "vocab.txt" in files:
        from_files["vocab"] = files["vocab.txt"]
    else:
        raise CheckpointError(f"the {JAPANESE} of {name!r} has no vocab.txt; fetch that file too")
    accepted = _accepted(made)
    known = {field: value for field, value in from_files.items() if field in accepted}
    tokenizer = made(**{**known, "name_or_path": name, **options})
    kept = {field: value for field, value in config.items() if field not in accepted}
    tokenizer.init_kwargs.update(kept)
    tokenizer.chat_template = kept.get("chat_template")
    result: Made = tokenizer
    return result


def _class(cls: Any, stated: str | None, name: str, auto: bool) -> Any:
    """Return the class of what is made: ``cls``, or a Japanese tokenizer's."""
    if stated != JAPANESE:
        return cls
    from bertie.tokenization.japanese import BertJapaneseTokenizer

    if auto or issubclass(cls, BertJapaneseTokenizer):
        return BertJapaneseTokenizer
    raise CheckpointError(
        f"the tokenizer of {name!r} is a {JAPANESE}, which cuts Japanese into words first; "
        "open it with bertie.AutoTokenizer.from_pretrained"
    )


def _known_options(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without those that programs pass for other tokenizers.

    Raises:
        InputTypeError: one does not exist.
    """
    ignored = ("use_fast", "proxies", "resume_download", "tokenizer_type", "config")
    accepted = _accepted(cls)
    options = without_others(cls.__name__, options)
    refuse_unknown(f"{cls.__name__}.from_pretrained", [n for n in options if n not in (*accepted, *ignored)], accepted)
    return {field: value for field, value in options.items() if field not in ignored}


def _accepted(cls: type) -> list[str]:
    return [*_parameters(cls), *OPTION_NAMES, "additional_special_tokens", "max_len"]


def _parameters(cls: type) -> list[str]:
    """Return what the constructors of a class and its parents take by name."""
    makers = [vars(one)["__init__"] for one in cls.__mro__ if issubclass(one, Tokenizer) and "__init__" in vars(one)]
    parameters = [parameter for maker in makers for parameter in inspect.signature(maker).parameters.values()]
    named = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
    return [name for name in dict.fromkeys(named) if name not in ("self", "options")]


def _found(name_or_path: str | os.PathLike[str], hub: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files that there are, by name."""
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


def _stated(
    files: Mapping[str, Path],
    name: str,
    stated: str | None,
    config: dict[str, Any],
    options: Mapping[str, Any],
    *,
    fast: bool,
) -> dict[str, Any]:
    """Return ``config`` with what ``tokenizer.json`` states: BERT's arguments, or a tokenizer to run as it stands.

    Raises:
        CheckpointError: it is damaged, differs from ``vocab.txt``, or is not BERT's and ``fast`` is False.
    """
    serialized = read_serialized(files["tokenizer.json"], name)
    # the class of others does nothing but run the file
    _override(serialized, {**(config if is_bert(stated) else {}), **options}, options, name)
    found = bert_arguments(serialized, name)
    of_rows = ("unk_token", "cls_token", "sep_token")
    named = {token: config[token] for token in of_rows if config.get(token) is not None}
    if found is not None and all(str(token) == found[one] for one, token in named.items()):
        _compare(found["vocab"], files, name)
    elif found is not None and is_bert(stated):
        one = next(one for one, token in named.items() if str(token) != found[one])
        raise CheckpointError(
            f"{one} is {str(named[one])!r:.60} in the tokenizer_config.json of {name!r} and {found[one]!r:.60} in its "
            "tokenizer.json; correct the one or the other"
        )
    elif not fast:
        raise CheckpointError(
            f"the tokenizer.json of {name!r} states another pipeline than BERT's, which only the fast tokenizer runs; "
            "leave use_fast=False out, or use BertTokenizer"
        )
    else:
        rust = parsed(serialized, name)
        # what the file pads with is the padding token, where nothing else is said
        padding = {"pad_token": rust.padding["pad_token"]} if rust.padding else {}
        found = {**padding, **_without_missing(config, defaults(stated), rust)}
        found["tokenizer_object"] = FileBackend(rust)
    kept = config if found.get("tokenizer_object") is None else {}
    return {**kept, **found, "added_tokens_decoder": _all_added(serialized, config, name)}


def _all_added(serialized: Mapping[str, Any], config: Mapping[str, Any], name: str) -> dict[int, AddedToken]:
    """Return the added tokens of both files, with the flags of ``tokenizer.json`` wherever it has them.

    Raises:
        CheckpointError: they give an id to two tokens.
    """
    added = ((token.get("id"), token) for token in serialized.get("added_tokens") or ())
    own, other = _decoder(added, f"the tokenizer.json of {name!r}"), config.get("added_tokens_decoder", {})
    for index in own.keys() & other.keys():
        if own[index].content != other[index].content:
            raise CheckpointError(
                f"the added token {index} is {other[index].content!r:.60} in the tokenizer_config.json of {name!r} and "
                f"{own[index].content!r:.60} in its tokenizer.json; remove the file that does not belong to the model"
            )
    return {**other, **own}


def _without_missing(config: Mapping[str, Any], usual: Mapping[str, Any], rust: RustTokenizer) -> dict[str, Any]:
    """Return ``config`` without the usual special tokens of a class that the vocabulary lacks."""
    missing = {name for name in NAMES if name in usual and rust.token_to_id(usual[name]) is None}
    return {field: value for field, value in config.items() if field not in missing or value != usual[field]}


def _override(serialized: dict[str, Any], wanted: Mapping[str, Any], said: Mapping[str, Any], name: str) -> None:
    """Let what the caller and ``tokenizer_config.json`` say of normalisation win over the normalizer of the file."""
    normalizer: Any = serialized.get("normalizer")
    known = isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer"
    for field, theirs in NORMALIZER_FIELDS.items():
        if field not in wanted:
            continue
        if not known:
            if field in said:
                say_once(f"{field} has no effect: the tokenizer.json of {name!r} states how texts are normalised")
        elif normalizer.get(theirs) != wanted[field]:
            if field not in said:
                say_once(
                    f"{field} is {wanted[field]} in the tokenizer_config.json of {name!r} and "
                    f"{normalizer.get(theirs)} in its tokenizer.json; the first is used"
                )
            normalizer[theirs] = wanted[field]


def _compare(vocabulary: Mapping[str, int], files: Mapping[str, Path], name: str) -> None:
    """Refuse two files that tell the vocabulary differently.

    Raises:
        CheckpointError: they do; with the first token that differs.
    """
    if "vocab.txt" not in files or _is_written(vocabulary, files["vocab.txt"]):
        return
    other = read_vocabulary(files["vocab.txt"])
    if other != vocabulary:
        token = next(token for token in [*vocabulary, *other] if vocabulary.get(token) != other.get(token))
        raise CheckpointError(
            f"tokenizer.json and vocab.txt of {name!r} differ: {token!r:.60} has the id {vocabulary.get(token)} in the "
            f"one and {other.get(token)} in the other; remove the file that does not belong to the model"
        )


def _is_written(vocabulary: Mapping[str, int], path: Path) -> bool:
    """Whether ``vocab.txt`` holds the vocabulary to the byte, as nearly every one does: that is seen in no time."""
    in_order = list(vocabulary.values()) == list(range(len(vocabulary)))
    written = "".join(f"{token}\n" for token in vocabulary).encode() if in_order else b""
    return in_order and path.stat().st_size == len(written) and path.read_bytes() == written
