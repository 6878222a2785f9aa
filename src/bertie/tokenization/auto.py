"""AutoTokenizer: the tokenizer of a model folder, by its familiar name; BERT's only."""

import os
from typing import Any, NoReturn

from bertie.errors import InputError
from bertie.tokenization.fast import BertTokenizer
from bertie.tokenization.tokenizer import Tokenizer


class AutoTokenizer:
    """The door through which programs ask for "the tokenizer of this model": it always gives BERT's."""

    def __init__(self) -> NoReturn:
        raise InputError("AutoTokenizer is made by AutoTokenizer.from_pretrained(name or path)")

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | os.PathLike[str], *, use_fast: bool = True, **options: Any
    ) -> Tokenizer:
        """Load `BertTokenizer` (or, with ``use_fast=False``, `BertTokenizerLegacy`); arguments as there.

        Raises:
            CheckpointError: as `BertTokenizer.from_pretrained`.
            InputTypeError: an argument that does not exist.
        """
        if use_fast:
            return BertTokenizer.from_pretrained(pretrained_model_name_or_path, **options)
        from bertie.tokenization.legacy import BertTokenizerLegacy

        return BertTokenizerLegacy.from_pretrained(pretrained_model_name_or_path, **options)
