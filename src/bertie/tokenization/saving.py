"""A tokenizer → its files in a model folder, each replaced atomically."""

import os
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from bertie.errors import CheckpointError, InputError
from bertie.files import make_folder, write_json, write_text
from bertie.progress import say_once
from bertie.tokenization.vocabulary import write_vocabulary

# options without effect if tokenizer.json states another pipeline
_BERT_OPTIONS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars", "do_basic_tokenize", "never_split")
_NOT_SAVED = ("name_or_path", "vocab", "vocab_file", "tokenizer_file", "added_tokens_decoder", "verbose")


def save(
    tokenizer: Any, folder: str | os.PathLike[str], legacy_format: bool | None, prefix: str | None
) -> tuple[str, ...]:
    """Write ``tokenizer_config.json``, ``vocab.txt`` and, from a fast tokenizer, ``tokenizer.json``.

    ``legacy_format``: True omits ``tokenizer.json``, False omits ``vocab.txt``.
    """
    if legacy_format is False and not tokenizer.is_fast:
        raise InputError("BertTokenizerLegacy has no tokenizer.json to replace vocab.txt; leave legacy_format out")
    if legacy_format and not tokenizer.states_bert:
        raise InputError("only tokenizer.json can state this tokenizer, which is not BERT's; leave legacy_format out")
    directory = make_folder(folder)
    name = f"{prefix}-" if prefix else ""
    written = [directory / f"{name}tokenizer_config.json"]
    write_json(written[0], _config(tokenizer))
    if tokenizer.is_fast and not legacy_format:
        written.append(directory / f"{name}tokenizer.json")
        write_text(written[-1], tokenizer.backend_tokenizer.to_str())
    if legacy_format is False or not tokenizer.states_bert:
        return tuple(map(str, written))
    try:
        written += map(Path, save_vocabulary(tokenizer, directory, prefix))
    except CheckpointError as error:
        if legacy_format or not tokenizer.is_fast:
            raise
        say_once(f"vocab.txt was not written: {error}")
    return tuple(map(str, written))


def save_vocabulary(tokenizer: Any, folder: str | os.PathLike[str], prefix: str | None = None) -> tuple[str, ...]:
    """Write ``vocab.txt``, without added tokens, into an existing folder."""
    if not tokenizer.states_bert:
        raise InputError("vocab.txt cannot state this tokenizer, which is not BERT's; use save_pretrained")
    if not Path(folder).is_dir():
        raise CheckpointError(f"there is no folder {str(folder)!r} to write the vocabulary into; create it first")
    added = {token for token, index in tokenizer.added_tokens_encoder.items() if index >= tokenizer.vocab_size}
    vocabulary = {token: index for token, index in tokenizer.get_vocab().items() if token not in added}
    name = f"{prefix}-" if prefix else ""
    return (str(write_vocabulary(Path(folder, f"{name}vocab.txt"), vocabulary)),)


def _config(tokenizer: Any) -> dict[str, Any]:
    left_out = _NOT_SAVED if tokenizer.states_bert else (*_NOT_SAVED, *_BERT_OPTIONS)
    config = {name: value for name, value in tokenizer.init_kwargs.items() if name not in left_out}
    config = {name: _plain(getattr(tokenizer, name, value)) for name, value in config.items()}
    config |= tokenizer.special_tokens_map
    config["model_max_length"] = tokenizer.model_max_length
    config["padding_side"] = tokenizer.padding_side
    config["truncation_side"] = tokenizer.truncation_side
    config["clean_up_tokenization_spaces"] = tokenizer.clean_up_tokenization_spaces
    if tokenizer.extra_special_tokens:
        config["extra_special_tokens"] = tokenizer.extra_special_tokens
    # the class names by which every version of transformers loads the saved files
    config["tokenizer_class"] = tokenizer.saved_class if tokenizer.states_bert else "PreTrainedTokenizerFast"
    if not tokenizer.states_bert:
        config["model_input_names"] = tokenizer.model_input_names
    config = {name: value for name, value in config.items() if value is not None or not name.endswith("_token")}
    decoder = tokenizer.added_tokens_decoder
    config["added_tokens_decoder"] = {str(index): token.__getstate__() for index, token in decoder.items()}
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, AddedToken):
        return str(value)
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
