"""What every task is: options, inputs to features, one call of the model, and answers from what it computed."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from bertie.config import BertConfig
from bertie.errors import InputError, InputTypeError, nearest, spelled
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.model import Model
from bertie.tasks.operations import operations_on
from bertie.tasks.windows import in_windows, owned_tokens, tokens_left_out
from bertie.tokenization.arguments import one_of
from bertie.tokenization.encoding import Encoding
from bertie.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One task with its options. It is never changed: other options make another one (`with_options`).

    Args:
        tokenizer: turns texts into ids, as `bertie.BertTokenizer` does.
        config: the model's.
        truncation: None or True cuts a text that is too long and says so; False makes it an error; else a strategy
            of the tokenizer's.
        max_length: tokens of a text, special ones included; None: what tokenizer and model allow.
        padding: taken for programs that pass it, and without meaning: nothing is ever padded.
        split_special_tokens: True reads ``[SEP]``, ``[MASK]`` and the like in a text as plain text; the default, as
            in the reference, is to take them for the control tokens they name.
        windows: True reads a text that is too long in windows that overlap (of a pair, its second text) and answers
            from all of them, instead of cutting it.
        overlap: the tokens that neighbouring windows share; None: a quarter of ``limit``.
    """

    tokenizer: Any
    config: BertConfig
    truncation: bool | str | None = None
    max_length: int | None = None
    padding: bool | str = False
    split_special_tokens: bool = False
    windows: bool = False
    overlap: int | None = None
    given: ClassVar[tuple[str, ...]] = ("tokenizer", "config")
    # option → its values, where these are names
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # whether the task needs to know which characters a token comes from
    needs_places: ClassVar[bool] = False
    # the options that training settles and that are saved with the model
    saved: ClassVar[tuple[str, ...]] = ("max_length", "windows", "overlap")

    # inputs → features

    def encode(self, inputs: Sequence[Any], first: int = 0) -> Features:
        """Return the features of inputs (each a str, a pair, or a mapping with ``text`` and ``text_pair``).

        Args:
            inputs: what to encode.
            first: the number of the first of them in the caller's list, for error messages.
        """
        self.check(inputs, first)
        read = [self.read(one) for one in inputs]
        return self._windowed(read) if self.windows else self._cut(read)

    def check(self, inputs: Sequence[Any], first: int) -> None:
        """Refuse what is no text, a pair of texts or a mapping, with its number."""
        for index, one in enumerate(inputs):
            if not (isinstance(one, str | Mapping) or is_pair(one)):
                raise InputTypeError(
                    f"Input {first + index} is {one!r:.60} ({type(one).__name__}); it must be a str, a pair of them, "
                    "or a mapping with 'text' and 'text_pair'."
                )

    def read(self, text: Any) -> Any:
        """Return an input in the form the tokenizer takes: a str, or a pair as a tuple."""
        if isinstance(text, Mapping):
            unknown = [name for name in text if name not in ("text", "text_pair")]
            if unknown or "text" not in text:
                raise InputTypeError(f"A text given as a mapping has 'text' and 'text_pair', not {sorted(text)}.")
            return text["text"] if text.get("text_pair") is None else (text["text"], text["text_pair"])
        if isinstance(text, list | tuple) and len(text) == 2:
            return tuple(text)
        return text

    @property
    def limit(self) -> int:
        """The most tokens a text may have."""
        if self.max_length is not None:
            return self.max_length
        return min(self.tokenizer.model_max_length, self.config.max_position_embeddings)

    def _cut(self, inputs: list[Any]) -> Features:
        """Return inputs as a row each, cut to the limit."""
        truncation = False if self.truncation is False else self.truncation or True
        if not inputs:
            return Features.from_lists([], [], [], [])
        if not isinstance(self.tokenizer, Tokenizer):
            return self._foreign_features(inputs, truncation)
        limit = self.limit if truncation else None
        return Features.from_rows(self._rows(inputs, truncation=truncation, max_length=limit))

    def _windowed(self, inputs: list[Any]) -> Features:
        """Return inputs as one row for each of their windows, with encodings."""
        rows = list(self._rows(inputs))
        limit = self.limit
        overlap = limit // 4 if self.overlap is None else self.overlap
        groups = [in_windows(row, limit, overlap) for row in rows]
        left_out = [tokens_left_out(row, group) for row, group in zip(rows, groups, strict=True)]
        owned = np.concatenate([np.ones(0, dtype=bool), *map(owned_tokens, groups)])
        return Features.from_groups(groups, left_out, [row.is_empty for row in rows], owned)

    def _rows(self, inputs: list[Any], **more: Any) -> Iterable[Encoding]:
        """Return the rows of inputs as bertie's tokenizers make them, uncut unless ``more`` says otherwise."""
        self._check_places()
        return self.tokenizer.rows(inputs, split_special_tokens=self.split_special_tokens, **more)

    def check_tokenizer(self) -> None:
        """Refuse a tokenizer that cannot give what the task needs."""
        if self.needs_places or self.windows:
            self._check_places()

    def _check_places(self) -> None:
        if not isinstance(self.tokenizer, Tokenizer):
            raise InputTypeError(
                f"This needs to know where tokens come from: give bertie's tokenizer, not {type(self.tokenizer)!r}."
            )

    def _foreign_features(self, inputs: list[Any], truncation: bool | str) -> Features:
        """As `_features`, by a tokenizer that gives back lists and does not say how much it cut off."""
        ids, types = self._lists(inputs, truncation=False)
        whole = [len(row) for row in ids]
        alone, paired = (self.tokenizer.num_special_tokens_to_add(pair) for pair in (False, True))
        empty = [
            length == (paired if isinstance(text, tuple) else alone) for length, text in zip(whole, inputs, strict=True)
        ]
        long = [index for index, length in enumerate(whole) if length > self.limit and truncation]
        if long:
            cut = self._lists([inputs[index] for index in long], truncation)
            for index, row, row_types in zip(long, *cut, strict=True):
                ids[index], types[index] = row, row_types
        return Features.from_lists(
            ids, types, [before - len(row) for before, row in zip(whole, ids, strict=True)], empty
        )

    def _lists(self, inputs: list[Any], truncation: bool | str) -> tuple[list[list[int]], list[list[int]]]:
        rows = self.tokenizer(
            inputs,
            truncation=truncation,
            max_length=self.limit if truncation else None,
            split_special_tokens=self.split_special_tokens,
            return_token_type_ids=True,
            return_attention_mask=False,
            verbose=False,
        )
        return list(rows["input_ids"]), list(rows["token_type_ids"])

    # features → answers

    @abstractmethod
    def run(self, model: Model, features: Features) -> Any:
        """Return what the task needs of the model for one batch: logits or hidden states, never a rectangle."""

    def rows(self, output: Any, features: Features) -> Sequence[Any]:
        """Return what is kept of a batch that `run` computed: one value a row of ``features``, on the host."""
        return list(operations_on(output).to_host(output))

    def combine(self, rows: Sequence[Any], features: Features) -> Values:
        """Return one value an input from those of all its rows."""
        if features.owners is not None:
            raise InputError(f"{type(self).__name__} reads no text in windows; cut it, or give it in parts.")
        return rows

    def outputs(self, rows: Sequence[Any], features: Features, labels: Sequence[Any] = ()) -> Outputs:
        """Return what was computed for inputs, from what `rows` kept of all their rows, beside their labels."""
        return Outputs(self.combine(rows, features), features, labels)

    @abstractmethod
    def decode(self, outputs: Outputs) -> Sequence[Any]:
        """Return one answer an input."""

    def format_output(self, answers: list[Any], inputs: Any, single: bool, named: Sequence[str]) -> Any:
        """Return the answers in the form the caller expects: one for a single input, else a list.

        Args:
            answers: one a text.
            inputs: what the caller gave.
            single: whether that was one text, not a list of them.
            named: the options the caller named in this call.
        """
        return answers[0] if single else answers

    # options

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of the options."""
        return [field.name for field in dataclasses.fields(cls) if field.name not in cls.given]

    @classmethod
    def unaliased(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options under their own names, where they have others."""
        inner = ("tokenizer_kwargs", "tokenize_kwargs")
        found = {name: value for name, value in options.items() if name not in inner}
        for name in inner:
            found |= options.get(name) or {}
        return found

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Refuse what can be refused before there is a model."""
        known = cls.options()
        for name in options:
            if name not in known:
                raise InputTypeError(
                    f"This task has no option {name!r}; it has {', '.join(known)}.{nearest(name, known)}"
                )
        cls.check_choices(options)

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
        known = self.options()
        options = self.unaliased({name: value for name, value in options.items() if value is not None or name in known})
        self.check_options(options)
        return dataclasses.replace(self, **options) if options else self


def is_pair(value: Any) -> bool:
    """Whether ``value`` is two texts."""
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)


def check_count(name: str, value: Any, most: int | None = None) -> None:
    """Refuse a count that is no integer of at least 1 (and at most ``most``)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{name} is {value!r}; it must be an integer.")
    if value < 1 or (most is not None and value > most):
        raise InputError(f"{name} is {value}; allowed are 1 to {'any number' if most is None else most}.")
