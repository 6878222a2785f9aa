"""Texts to features: the options of reading, and rows of ids that are cut to a limit or cover a text in windows."""

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
"""Options that hold others."""


@dataclass(frozen=True, kw_only=True)
class TextEncoder:
    """How texts are read. It is never changed: other options make another one (`with_options`)."""

    tokenizer: Any  # turns texts into ids, as `bertie.BertTokenizer` does
    config: BertConfig  # the model's
    # None or True cuts a text that is too long and says so; False makes it an error; else a strategy of the tokenizer's
    truncation: bool | str | None = None
    max_length: int | None = None  # tokens of a text, special ones included; None: what tokenizer and model allow
    padding: bool | str = False  # for programs that pass it: nothing is ever padded
    # True reads [SEP], [MASK] and the like in a text as plain text, not, as the reference does, as control tokens
    split_special_tokens: bool = False
    # True reads a text that is too long in windows that overlap (of a pair, its second text) and answers from all of
    # them, instead of cutting it
    windows: bool = False
    overlap: int | None = None  # the tokens that neighbouring windows share; None: a quarter of ``limit``
    # the fields that are no options
    given: ClassVar[tuple[str, ...]] = ("tokenizer", "config")
    # the options that are for training alone
    learning: ClassVar[tuple[str, ...]] = ()
    # what pipelines take in the place of options or around them
    other_names: ClassVar[tuple[str, ...]] = NESTED
    # option → its values, where these are names
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # whether the task has an output for each token, and needs to know which characters each comes from
    works_on_tokens: ClassVar[bool] = False
    # what the columns of a table are called, in the order of what is taken first
    columns: ClassVar[tuple[tuple[str, ...], ...]] = TEXT_COLUMNS
    # what a pair is called, where an input must be one, and what is wanted where it must be none
    pair: ClassVar[str] = ""
    single: ClassVar[str] = ""
    # which text of a pair is read in windows
    moving: ClassVar[int] = -1
    # the options that training settles and that are saved with the model
    saved: ClassVar[tuple[str, ...]] = ("max_length", "windows", "overlap")

    def __post_init__(self) -> None:
        self.check_choices(vars(self))

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        """Return the features of inputs; the first of them has the number ``first`` in messages."""
        texts = [self.read(one, number) for number, one in enumerate(inputs, first)]
        return dataclasses.replace(self.features_of(texts), texts=texts)

    def read(self, given: object, number: int = 0) -> Any:
        """Return input ``number`` in the form the tokenizer takes: a str, or a pair as a tuple."""
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
        """Return the features of texts that `read` gave."""
        return self.in_windows(texts) if self.windows else self.cut(texts)

    def cut(self, texts: Sequence[Any]) -> Features:
        """Return texts as a row each, cut to the limit."""
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
        left_out = [tokens_left_out(row, group, self.moving) for row, group in zip(rows, groups, strict=True)]
        # of windows cut from another text than the last it is not known which owns a token
        owned = np.concatenate([np.ones(0, np.bool_), *map(owned_tokens, groups)]) if self.moving == -1 else None
        return Features.from_groups(groups, left_out, owned)

    def windows_of(self, row: Encoding) -> list[Encoding]:
        """Return the windows of a row that was read whole."""
        overlap = self.limit // 4 if self.overlap is None else self.overlap
        return in_windows(row, self.limit, overlap, self.moving)

    def rows_of(self, texts: Sequence[Any], **more: Any) -> Iterable[Encoding]:
        """Return the rows of texts as bertie's tokenizers make them, uncut unless ``more`` says otherwise."""
        if not isinstance(self.tokenizer, Tokenizer):
            raise InputTypeError(
                f"This needs to know where tokens come from: give bertie's tokenizer, not {type(self.tokenizer)!r}."
            )
        return self.tokenizer.rows(texts, split_special_tokens=self.split_special_tokens, **more) if texts else []

    def check_tokenizer(self) -> None:
        """Refuse a tokenizer that cannot give what the task needs."""
        if self.works_on_tokens or self.windows:
            self.rows_of([])

    def _foreign_features(self, texts: Sequence[Any], truncation: bool | str) -> Features:
        """As `cut`, by a tokenizer that gives back lists and does not say how much it cut off."""
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
        return [field.name for field in dataclasses.fields(cls) if field.name not in cls.given]

    @classmethod
    def unaliased(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options under their own names, where they have others."""
        found = {name: value for name, value in options.items() if name not in NESTED}
        for name in NESTED:
            found |= options.get(name) or {}
        return found

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse what can be refused before there is a model."""
        refuse_unknown("This task", options, cls.options())
        cls.check_choices(options)

    @classmethod
    def check_named(cls, whose: str, options: Mapping[str, Any], beside: Sequence[str]) -> None:
        """Refuse options that a pipeline, which has those ``beside`` too, does not have; None asks for nothing."""
        asked = [name for name, value in options.items() if value is not None]
        known = [*beside, *(name for name in cls.options() if name not in cls.learning)]
        refuse_unknown(whose, asked, known, cls.other_names)

    @classmethod
    def check_choices(cls, options: Mapping[str, Any]) -> None:
        """Refuse a value that is none of an option's names."""
        for name, allowed in cls.choices.items():
            if options.get(name) is not None:
                one_of(spelled(name), options[name], allowed)

    def with_options(self, **options: Any) -> Self:
        """Return the task with other options; ``tokenizer_kwargs`` and ``tokenize_kwargs`` hold some of them.

        One that does not exist passes if it is None.
        """
        if not options:  # most calls: to look up what there is takes 3 % of a short query in int8
            return self
        known = self.options()
        options = self.unaliased({name: value for name, value in options.items() if value is not None or name in known})
        self.check_options(options)
        return dataclasses.replace(self, **options) if options else self


def refuse_unknown(whose: str, names: Iterable[str], known: Sequence[str], others: Sequence[str] = ()) -> None:
    """Refuse names that are none of the options ``known``, which are listed, and none of ``others``."""
    for name in names:
        if name not in known and name not in others:
            alike = nearest(name, (*known, *others))
            raise InputTypeError(f"{whose} has no option {name!r}; it has {', '.join(known)}.{alike}")


def is_pair(value: object) -> TypeGuard[Sequence[str]]:
    """Whether ``value`` is two texts."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def two_parts(given: object, number: int, first: str, second: str, wanted: str) -> Sequence[Any]:
    """Return both parts of an input that is a pair, or a mapping with these names."""
    if isinstance(given, Mapping):
        if not {first, second} <= set(given):
            raise InputTypeError(f"A {first} given as a mapping has {first!r} and {second!r}, not {sorted(given)}.")
        return given[first], given[second]
    if isinstance(given, list | tuple) and len(given) == 2:
        return given
    raise wrong_type(number, given, wanted)


def wrong_type(number: int, given: object, wanted: str) -> InputTypeError:
    """Return the error of an input that is nothing of what is wanted."""
    return InputTypeError(f"Input {number} is {given!r:.60} ({type(given).__name__}); it must be {wanted}.")


def check_count(name: str, value: object, most: int | None = None) -> None:
    """Refuse a count that is no integer of at least 1 (and at most ``most``)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{spelled(name)} is {value!r}; it must be an integer.")
    if value < 1 or (most is not None and value > most):
        raise InputError(f"{spelled(name)} is {value}; allowed are 1 {'and more' if most is None else f'to {most}'}.")
