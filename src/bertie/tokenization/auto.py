"""AutoTokenizer: the tokenizer of a model folder, by its familiar name."""

import os
from typing import Any

from bertie.errors import InputError
from bertie.tokenization.fast import BertTokenizer
from bertie.tokenization.tokenizer import Tokenizer

_HUB = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class AutoTokenizer:
    """The door through which programs ask for "the tokenizer of this model", whatever its folder states."""

    def __init__(self) -> None:
        raise InputError("AutoTokenizer is made by AutoTokenizer.from_pretrained(name or path)")

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **options: Any
    ) -> Tokenizer:
        """Load `BertTokenizer` (with ``use_fast=False``, `BertTokenizerLegacy`), or a `BertJapaneseTokenizer`.

        Arguments are those of their ``from_pretrained``.

        Raises:
            CheckpointError: as `BertTokenizer.from_pretrained`.
            InputTypeError: an argument that does not exist.
        """
        from bertie.tokenization.loading import load

        hub = {name: options.pop(name) for name in _HUB if name in options}
        cls: type[Tokenizer] = BertTokenizer
        if not use_fast:
            from bertie.tokenization.legacy import BertTokenizerLegacy

            cls = BertTokenizerLegacy
        remote = bool(options.pop("trust_remote_code", False))
        return load(cls, pretrained_model_name_or_path, hub, remote, options, auto=True)
