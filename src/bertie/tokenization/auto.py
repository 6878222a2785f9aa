"""AutoTokenizer: the tokenizer of a model folder, by its familiar name."""

import os
from typing import Any

from bertie.errors import InputError
from bertie.tokenization.fast import BertTokenizer
from bertie.tokenization.tokenizer import Tokenizer

_HUB = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class AutoTokenizer:
    """Loads the tokenizer of a model, of the class that its folder states."""

    def __init__(self) -> None:
        raise InputError("AutoTokenizer has no instances; call AutoTokenizer.from_pretrained(name or path)")

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **options: Any
    ) -> Tokenizer:
        """Load a `BertTokenizer`, a `BertTokenizerLegacy` (``use_fast=False``) or a `BertJapaneseTokenizer`.

        Other arguments are those of `BertTokenizer.from_pretrained`.

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
