"""What both tokenizers take when they are made, beside vocabulary and algorithm: lengths, sides, special tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bertie.errors import InputError, InputTypeError
from bertie.tokenization.arguments import UNLIMITED, refuse_unknown, without_others


@dataclass(slots=True)
class Options:
    """The options by name, with their defaults; ``given`` holds the arguments as they came, to be saved again."""

    special_tokens: dict[str, Any]
    given: dict[str, Any]
    clean_up_tokenization_spaces: bool = False
    model_max_length: int = UNLIMITED
    padding_side: str = "right"
    truncation_side: str = "right"
    model_input_names: Sequence[str] | None = None
    split_special_tokens: bool = False
    pad_token_type_id: int = 0
    bos_token: Any = None
    eos_token: Any = None
    extra_special_tokens: Any = None
    added_tokens_decoder: Any = None
    name_or_path: str = ""
    verbose: bool = False


_OTHER_NAMES = {"max_len": "model_max_length", "additional_special_tokens": "extra_special_tokens"}
OPTION_NAMES = tuple(field.name for field in fields(Options) if field.name not in ("special_tokens", "given"))


def read_options(where: str, named: Mapping[str, Any], options: Mapping[str, Any], clean_up: bool = False) -> Options:
    """Read the arguments of a constructor: ``named`` are those in its signature, ``options`` all other.

    Raises:
        InputTypeError: an option that does not exist, or a length that is no number.
        InputError: a length below 1.
    """
    options = without_others(where, options)
    refuse_unknown(
        where, [name for name in options if name not in (*OPTION_NAMES, *_OTHER_NAMES)], [*named, *OPTION_NAMES]
    )
    known = {_OTHER_NAMES.get(name, name): value for name, value in options.items() if value is not None}
    special = {name: value for name, value in {**named, **known}.items() if name.endswith("_token")}
    given = {name: value for name, value in {**named, **known}.items() if name != "added_tokens_decoder"}
    read = Options(special, given, **{"clean_up_tokenization_spaces": clean_up, **known})
    read.model_max_length = _length(read.model_max_length)
    return read


def _length(value: Any) -> int:
    # files of older tokenizers hold 1e30 as a float
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputTypeError(f"model_max_length is {value!r}; it must be an integer")
    if value < 1:
        raise InputError(f"model_max_length is {value}; it must be at least 1")
    return int(min(value, UNLIMITED))
