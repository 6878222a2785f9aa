"""The arguments of one call, read once: what to pad, what to cut, what to give back. Nothing outlives the call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
_OF_OTHERS = {
    *("add_prefix_space", "from_slow", "legacy", "src_lang", "tgt_lang", "pad_to_max_length", "use_auth_token"),
    *("add_bos_token", "add_eos_token"),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How texts become rows. ``max_length`` is None where nothing needs it."""

    padding: str
    truncation: str
    max_length: int | None
    stride: int
    pad_to_multiple_of: int | None
    padding_side: str
    truncation_side: str
    add_special_tokens: bool

    @property
    def truncates(self) -> bool:
        return self.truncation != "do_not_truncate"

    @property
    def pads(self) -> bool:
        return self.padding != "do_not_pad"

    def width(self, longest: int) -> int:
        """Return the length that rows are padded to when the longest of them has ``longest`` tokens."""
        width = self.max_length if self.padding == "max_length" and self.max_length is not None else longest
        multiple = self.pad_to_multiple_of
        return width if not multiple else -(-width // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call gives back beside the ids."""

    tensors: str | None
    token_type_ids: bool
    attention_mask: bool
    overflowing_tokens: bool
    special_tokens_mask: bool
    offsets_mapping: bool
    length: bool


def read_layout(
    *,
    padding: Any,
    truncation: Any,
    max_length: int | None,
    stride: int,
    pad_to_multiple_of: int | None,
    padding_side: str,
    truncation_side: str,
    add_special_tokens: bool,
    model_max_length: int,
    verbose: bool,
) -> Layout:
    """Check the arguments about length against each other and fill in what they leave open.

    Raises:
        InputError: a strategy or side that does not exist, a length below 0 or no multiple where one is needed.
        InputTypeError: a length that is no integer.
    """
    _check_numbers(max_length, stride, pad_to_multiple_of)
    if max_length is not None and padding is False and truncation is None:
        truncation = True  # max_length alone implies truncation
    if padding is True and max_length is not None and truncation in (None, False, "do_not_truncate") and verbose:
        say_once("max_length is ignored: padding=True pads to the longest text and truncation is off")
    padding = _strategy("padding", padding, PADDINGS)
    truncation = _strategy("truncation", truncation, TRUNCATIONS)
    if max_length is None and model_max_length > LONGEST_LIMIT:
        # the model has no limit, so there is nothing to cut or fill up to
        padding = "do_not_pad" if padding == "max_length" else padding
        truncation = "do_not_truncate"
    elif max_length is None and (padding == "max_length" or truncation != "do_not_truncate"):
        max_length = model_max_length
    layout = Layout(
        padding,
        truncation,
        max_length,
        stride,
        pad_to_multiple_of,
        one_of("padding_side", padding_side, SIDES),
        one_of("truncation_side", truncation_side, SIDES),
        add_special_tokens,
    )
    multiple = pad_to_multiple_of
    if layout.truncates and layout.pads and multiple and max_length is not None and max_length % multiple:
        raise InputError(
            f"max_length is {max_length}, which is no multiple of pad_to_multiple_of={multiple}; make it one"
        )
    return layout


def one_of(name: str, value: Any, allowed: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        InputError: it is not.
    """
    # the enumerations of transformers are strings with a value
    text = getattr(value, "value", value)
    if text not in tuple(allowed):
        names = ", ".join(repr(choice) for choice in allowed)
        raise InputError(f"{name} is {value!r}; it must be one of {names}.{nearest(str(text), allowed)}")
    return str(text)


def without_others(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those that programs pass for other tokenizers: reported, as they cannot matter here."""
    others = [name for name, value in options.items() if name in _OF_OTHERS and value is not None]
    if others:
        advice = "; padding='max_length' pads to max_length" if "pad_to_max_length" in others else ""
        say_once(f"{', '.join(others)}: without effect on {where}{advice}")
    return {name: value for name, value in options.items() if name not in _OF_OTHERS}


def refuse_unknown(where: str, unknown: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse arguments that do not exist.

    Raises:
        InputTypeError: there is one; the message suggests the nearest that exists.
    """
    for name in unknown:
        raise InputTypeError(f"{where} has no argument {name!r}.{nearest(name, allowed)}")


def _strategy(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """True is the first of ``allowed``; False and None are the last."""
    if value is True:
        return allowed[0]
    if value is False or value is None:
        return allowed[-1]
    return one_of(name, value, allowed)


def _check_numbers(max_length: Any, stride: Any, pad_to_multiple_of: Any) -> None:
    for name, value, least in (
        ("max_length", max_length, 0),
        ("stride", stride, 0),
        ("pad_to_multiple_of", pad_to_multiple_of, 1),
    ):
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise InputTypeError(f"{name} is {value!r}; it must be an integer")
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
