"""The arguments of a tokenizer's call and the options of its constructor, checked once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bertie.errors import InputError, InputTypeError, nearest
from bertie.progress import say_once

UNLIMITED = int(1e30)
"""``model_max_length`` of a tokenizer without a limit."""
LONGEST_LIMIT = int(1e20)
PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")
TENSORS = ("pt", "np", "packed")
SIDES = ("right", "left")
_FOREIGN = {
    *("add_prefix_space", "from_slow", "legacy", "src_lang", "tgt_lang", "pad_to_max_length", "use_auth_token"),
    *("add_bos_token", "add_eos_token"),
}


@dataclass(slots=True, kw_only=True)  # not frozen: a query's time counts
class Call:
    """The arguments of a call besides its texts; `Tokenizer.__call__` documents them, and `resolve` completes them."""

    add_special_tokens: bool = True
    padding: bool | str = False
    truncation: bool | str | None = None
    max_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    truncation_side: str = "right"  # always the tokenizer's
    return_tensors: str | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None
    na: str = "error"

    @property
    def truncates(self) -> bool:
        return self.truncation != "do_not_truncate"

    @property
    def pads(self) -> bool:
        return self.padding != "do_not_pad"

    def width(self, longest: int) -> int:
        """Return the length that rows are padded to if the longest has ``longest`` tokens."""
        width = self.max_length if self.padding == "max_length" and self.max_length is not None else longest
        multiple = self.pad_to_multiple_of
        return width if not multiple else -(-width // multiple) * multiple


CALL_NAMES = frozenset(field.name for field in fields(Call))


def resolve(call: Call, padding_side: str, model_max_length: int) -> None:
    """Check the arguments about lengths against each other, and fill in the tokenizer's defaults.

    Afterwards ``padding`` and ``truncation`` are names, ``max_length`` is None if nothing needs it, and ``verbose`` is
    whether to warn of texts that are too long for the model.
    """
    _check_numbers(call)
    unlimited = call.max_length is None
    if not unlimited and call.padding is False and call.truncation is None:
        call.truncation = True  # max_length alone implies truncation
    ignored = not unlimited and call.padding is True and call.truncation in (None, False, TRUNCATIONS[-1])
    if call.verbose and ignored:
        say_once("max_length is ignored: padding=True pads to the longest text and truncation is off")
    call.padding = _strategy("padding", call.padding, PADDINGS)
    call.truncation = _strategy("truncation", call.truncation, TRUNCATIONS)
    if unlimited and model_max_length > LONGEST_LIMIT:
        # the model has no limit, so there is no length to truncate or pad to
        call.padding = "do_not_pad" if call.padding == "max_length" else call.padding
        call.truncation = "do_not_truncate"
    elif unlimited and (call.padding == "max_length" or call.truncates):
        call.max_length = model_max_length
    call.verbose = call.verbose and unlimited and not call.truncates
    call.padding_side = one_of("padding_side", padding_side if call.padding_side is None else call.padding_side, SIDES)
    one_of("truncation_side", call.truncation_side, SIDES)
    length, multiple = call.max_length, call.pad_to_multiple_of
    if call.truncates and call.pads and multiple and length is not None and length % multiple:
        raise InputError(f"max_length is {length}, not a multiple of pad_to_multiple_of={multiple}; make it one")


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    # the enumerations of transformers are strings with a value
    text = getattr(value, "value", value)
    if text not in tuple(allowed):
        names = ", ".join(repr(choice) for choice in allowed)
        raise InputError(f"{name} is {value!r}; it must be one of {names}.{nearest(str(text), allowed)}")
    return str(text)


def drop_foreign(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those of other tokenizers, which have no effect here; say once that they were dropped."""
    foreign = [name for name, value in options.items() if name in _FOREIGN and value is not None]
    if foreign:
        advice = "; padding='max_length' pads to max_length" if "pad_to_max_length" in foreign else ""
        say_once(f"{', '.join(foreign)}: without effect on {where}{advice}")
    return {name: value for name, value in options.items() if name not in _FOREIGN}


def refuse_unknown(where: str, unknown: Iterable[str], allowed: Iterable[str]) -> None:
    for name in unknown:
        raise InputTypeError(f"{where} has no argument {name!r}.{nearest(name, allowed)}")


def _strategy(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return a strategy by its name; True is the first of ``allowed``, False and None the last."""
    if value is True:
        return allowed[0]
    if value is False or value is None:
        return allowed[-1]
    return one_of(name, value, allowed)


def _check_numbers(call: Call) -> None:
    for name, least in (("max_length", 0), ("stride", 0), ("pad_to_multiple_of", 1)):
        value = getattr(call, name)
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise InputTypeError(f"{name} is {value!r}; it must be an integer")
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")


@dataclass(slots=True)
class Options:
    """The options that the constructors share; ``given`` holds the arguments unchanged, to be saved again."""

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


# the options in the signatures of BERT's tokenizers
NAMED_OPTIONS = (
    *("do_lower_case", "do_basic_tokenize", "never_split", "tokenize_chinese_chars", "strip_accents"),
    *("unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
_OTHER_NAMES = {"max_len": "model_max_length", "additional_special_tokens": "extra_special_tokens"}
OPTION_NAMES = tuple(field.name for field in fields(Options) if field.name not in ("special_tokens", "given"))


def read_options(where: str, named: Mapping[str, Any], options: Mapping[str, Any]) -> Options:
    """Read the arguments of a constructor: ``named`` are those in its signature, ``options`` all others."""
    options = drop_foreign(where, options)
    refuse_unknown(
        where, [name for name in options if name not in (*OPTION_NAMES, *_OTHER_NAMES)], [*named, *OPTION_NAMES]
    )
    known = {_OTHER_NAMES.get(name, name): value for name, value in options.items() if value is not None}
    given = {**named, **known}
    special = {name: value for name, value in given.items() if name.endswith("_token")}
    given.pop("added_tokens_decoder", None)
    read = Options(special, given, **known)
    length = read.model_max_length
    # older tokenizers wrote 1e30, a float
    if isinstance(length, bool) or not isinstance(length, (int, float)):
        raise InputTypeError(f"model_max_length is {length!r}; it must be an integer")
    if length < 1:
        raise InputError(f"model_max_length is {length}; it must be at least 1")
    read.model_max_length = int(min(length, UNLIMITED))
    return read
