"""From texts to features: the options of encoding, and rows of ids, cut to a limit or covering a text in windows."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeGuard

import numpy as np

from bertie.config import BertConfig
from bertie.errors import InputError, InputTypeError, nearest, spelled
from bertie.frames import TEXT_COLUMNS
from bertie.tasks.features import Features
from bertie.tasks.windows import in_windows, owned_tokens, tokens_left_out
from bertie.tokenization.arguments import one_of
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.tokenizer import Tokenizer

NESTED = ("tokenizer_kwargs", "tokenize_kwargs")
"""Options that hold other options."""


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """How texts are encoded. It is immutable: `with_options` returns a copy with other options."""

    tokenizer: Any  # encodes texts, as `bertie.BertTokenizer` does
    config: BertConfig  # the model's
    # None or True cuts a text that is too long and reports it; False makes it an error; else a tokenizer's strategy
    truncation: bool | str | None = None
    max_length: int | None = None  # tokens of a text, special ones included; None: what tokenizer and model allow
    padding: bool | str = False  # ignored, for programs that pass it: nothing is ever padded
    # True reads [SEP], [MASK] and the like in a text as plain text; False, as in the reference, as special tokens
    split_special_tokens: bool = False
    # True reads a text that is too long (of a pair, its second text) in overlapping windows and answers from all of
    # them, instead of cutting it
    windows: bool = False
    overlap: int | None = None  # tokens that neighbouring windows share; None: a quarter of ``limit``
    # the fields that are not options
    not_options: ClassVar[tuple[str, ...]] = ("tokenizer", "config")
    # the options that only training uses
    training_options: ClassVar[tuple[str, ...]] = ()
    # other option names that pipelines accept
    aliases: ClassVar[tuple[str, ...]] = NESTED
    # option → its allowed values, if these are names
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # whether the task has an output per token, and needs their offsets in the text
    works_on_tokens: ClassVar[bool] = False
    # the names of the columns of a table to read, in order of preference
    columns: ClassVar[tuple[tuple[str, ...], ...]] = TEXT_COLUMNS
    # describes an input, for messages, if it must be a pair, or must not be one
    pair: ClassVar[str] = ""
    single: ClassVar[str] = ""
    # which text of a pair is read in windows
    windowed: ClassVar[int] = -1
    # the options that are saved with a trained model
    saved: ClassVar[tuple[str, ...]] = ("max_length", "windows", "overlap")

    def __post_init__(self) -> None:
        self.check_choices(vars(self))

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        """Return the features of inputs, which messages number from ``first``."""
        texts = [self.read(one, number) for number, one in enumerate(inputs, first)]
        return dataclasses.replace(self.features_of(texts), texts=texts)

    def read(self, given: object, number: int = 0) -> Any:
        """Return input ``number`` in the form that the tokenizer takes: a str, or a pair as a tuple."""
        text = given
        if isinstance(given, Mapping):
            if "text" not in given or set(given) - {"text", "text_pair"}:
                raise InputTypeError(f"A text given as a mapping has 'text' and 'text_pair', not {sorted(given)}.")
            text = given["text"] if given.get("text_pair") is None else (given["text"], given["text_pair"])
        elif is_pair(given):
            text = tuple(given)
        elif not isinstance(given, str):
            raise wrong_type(number, given, "a str, a pair of them, or a mapping with 'text' and 'text_pair'")
        if self.single and not isinstance(text, str):
            raise wrong_type(number, given, self.single)
        if self.pair and not isinstance(text, tuple):
            raise InputError(f"Input {number} is not a pair of texts; give {self.pair}.")
        return text

    @property
    def limit(self) -> int:
        """The most tokens a text may have."""
        if self.max_length is not None:
            return self.max_length
        return min(self.tokenizer.model_max_length, self.config.get_text_config(encoder=True).max_tokens)

    def features_of(self, texts: Sequence[Any]) -> Features:
        """Return the features of texts as `read` returns them."""
        return self.in_windows(texts) if self.windows else self.cut(texts)

    def cut(self, texts: Sequence[Any]) -> Features:
        """Return texts as one row each, cut to the limit."""
        truncation = False if self.truncation is False else self.truncation or True
        if not self.works_on_tokens and not isinstance(self.tokenizer, Tokenizer):
            return self._foreign_features(texts, truncation) if texts else Features.from_rows([])
        rows = self.rows_of(texts, truncation=truncation, max_length=self.limit if truncation else None)
        if not self.works_on_tokens:
            return Features.from_rows(rows)
        rows = list(rows)
        return Features.from_groups([[row] for row in rows], [row.tokens_cut for row in rows])

    def in_windows(self, texts: Sequence[Any]) -> Features:
        """Return texts as one row for each of their windows, with encodings."""
        rows = list(self.rows_of(texts))
        groups = [self.windows_of(row) for row in rows]
        left_out = [tokens_left_out(row, group, self.windowed) for row, group in zip(rows, groups, strict=True)]
        # ownership of tokens is defined only for windows of the last text
        owned = np.concatenate([np.ones(0, np.bool_), *map(owned_tokens, groups)]) if self.windowed == -1 else None
        return Features.from_groups(groups, left_out, owned)

    def windows_of(self, row: Encoding) -> list[Encoding]:
        """Return the windows of an uncut row."""
        overlap = self.limit // 4 if self.overlap is None else self.overlap
        return in_windows(row, self.limit, overlap, self.windowed)

    def rows_of(self, texts: Sequence[Any], **more: Any) -> Iterable[Encoding]:
        """Return the rows of texts as bertie's tokenizers make them, uncut unless ``more`` says otherwise."""
        if not isinstance(self.tokenizer, Tokenizer):
            raise InputTypeError(
                f"This task needs the offsets of tokens; give bertie's tokenizer, not {type(self.tokenizer)!r}."
            )
        return self.tokenizer.rows(texts, split_special_tokens=self.split_special_tokens, **more) if texts else []

    def check_tokenizer(self) -> None:
        """Refuse a tokenizer that lacks what the task needs."""
        if self.works_on_tokens or self.windows:
            self.rows_of([])

    def _foreign_features(self, texts: Sequence[Any], truncation: bool | str) -> Features:
        """As `cut`, with another library's tokenizer, which returns lists and does not say how much it cut off."""
        whole, _ = self._lists(texts, truncation=False)
        ids, types = self._lists(texts, truncation)
        alone, paired = (self.tokenizer.num_special_tokens_to_add(pair) for pair in (False, True))
        special = [paired if isinstance(text, tuple) else alone for text in texts]
        cut = [len(before) - len(after) for before, after in zip(whole, ids, strict=True)]
        return Features.from_lists(ids, types, cut, [len(row) == n for row, n in zip(whole, special, strict=True)])

    def _lists(self, texts: Sequence[Any], truncation: bool | str) -> tuple[list[list[int]], list[list[int]]]:
        rows = self.tokenizer(
            texts,
            truncation=truncation,
            max_length=self.limit if truncation else None,
            split_special_tokens=self.split_special_tokens,
            return_token_type_ids=True,
            return_attention_mask=False,
            verbose=False,
        )
        return rows["input_ids"], rows["token_type_ids"]

    # options

    @classmethod
    def options(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls) if field.name not in cls.not_options]

    @classmethod
    def resolve_aliases(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options under their own names."""
        found = {name: value for name, value in options.items() if name not in NESTED}
        for name in NESTED:
            found |= options.get(name) or {}
        return found

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse options as far as they can be checked without a model."""
        refuse_unknown("This task", options, cls.options())
        cls.check_choices(options)

    @classmethod
    def check_names(cls, whose: str, options: Mapping[str, Any], others: Sequence[str]) -> None:
        """Refuse unknown options of a pipeline, which also takes ``others``; those that are None are ignored."""
        names = [name for name, value in options.items() if value is not None]
        known = [*others, *(name for name in cls.options() if name not in cls.training_options)]
        refuse_unknown(whose, names, known, cls.aliases)

    @classmethod
    def check_choices(cls, options: Mapping[str, Any]) -> None:
        """Refuse a value that an option does not allow."""
        for name, allowed in cls.choices.items():
            if options.get(name) is not None:
                one_of(spelled(name), options[name], allowed)

    def with_options(self, **options: Any) -> Self:
        """Return the task with other options; ``tokenizer_kwargs`` and ``tokenize_kwargs`` may hold some of them.

        An unknown option is ignored if it is None.
        """
        if not options:  # the usual case: the checks below would take 3 % of a short query in int8
            return self
        known = self.options()
        options = self.resolve_aliases(
            {name: value for name, value in options.items() if value is not None or name in known}
        )
        self.check_options(options)
        return dataclasses.replace(self, **options) if options else self


def refuse_unknown(whose: str, names: Iterable[str], known: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuse names that are neither in ``known``, which the message lists, nor in ``others``."""
    for name in names:
        if name not in known and name not in others:
            alike = nearest(name, (*known, *others))
            raise InputTypeError(f"{whose} has no option {name!r}; it has {', '.join(known)}.{alike}")


def is_pair(value: object) -> TypeGuard[Sequence[str]]:
    """Whether ``value`` is two texts."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def two_parts(given: object, number: int, first: str, second: str, wanted: str) -> Sequence[Any]:
    """Return both parts of an input that is a pair or a mapping with these keys."""
    if isinstance(given, Mapping):
        if not {first, second} <= set(given):
            raise InputTypeError(f"A {first} given as a mapping has {first!r} and {second!r}, not {sorted(given)}.")
        return given[first], given[second]
    if isinstance(given, list | tuple) and len(given) == 2:
        return given
    raise wrong_type(number, given, wanted)


def wrong_type(number: int, given: object, wanted: str) -> InputTypeError:
    """Return the error for an input of the wrong type."""
    return InputTypeError(f"Input {number} is {given!r:.60} ({type(given).__name__}); it must be {wanted}.")


def check_count(name: str, value: object, highest: int | None = None) -> None:
    """Refuse a count that is not an integer of at least 1 (and at most ``highest``)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{spelled(name)} is {value!r}; it must be an integer.")
    if value < 1 or (highest is not None and value > highest):
        allowed = "1 and more" if highest is None else f"1 to {highest}"
        raise InputError(f"{spelled(name)} is {value}; allowed are {allowed}.")
