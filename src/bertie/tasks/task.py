"""What every task is: options, texts to features, one call of the model, and answers from what it computed."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor

from bertie.config import BertConfig
from bertie.errors import InputError, InputTypeError, nearest
from bertie.packing import Packed
from bertie.tasks.features import Features
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
    """

    tokenizer: Any
    config: BertConfig
    truncation: bool | str | None = None
    max_length: int | None = None
    padding: bool | str = False
    split_special_tokens: bool = False
    given: ClassVar[tuple[str, ...]] = ("tokenizer", "config")

    # texts → features

    def encode(self, texts: Sequence[Any], first: int = 0) -> Features:  # noqa: ARG002 (tasks that refuse texts name it)
        """Return the features of texts (each a str, a pair, or a mapping with ``text`` and ``text_pair``).

        Args:
            texts: what to encode.
            first: the number of the first of them in the caller's list, for error messages.

        Raises:
            InputTypeError: a text that is none.
        """
        truncation = False if self.truncation is False else self.truncation or True
        return self._features([self.read(text) for text in texts], truncation)

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

    def _features(self, inputs: list[Any], truncation: bool | str) -> Features:
        if not inputs:
            return Features.from_lists([], [], [], [])
        if isinstance(self.tokenizer, Tokenizer):
            limit = self.limit if truncation else None
            plain = self.split_special_tokens
            rows = self.tokenizer.rows(inputs, truncation=truncation, max_length=limit, split_special_tokens=plain)
            return Features.from_rows(rows)
        return self._foreign_features(inputs, truncation)

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
    def run(self, model: Any, packed: Packed) -> Tensor:
        """Return what the task needs of the model for one batch: logits or hidden states, never a rectangle."""

    @abstractmethod
    def decode(self, output: Tensor, features: Features) -> Sequence[Any]:
        """Return one answer a text from what `run` computed for a batch with these features."""

    def laid_out(self, answers: list[Any], inputs: Any, single: bool, named: Sequence[str]) -> Any:
        """Return the answers in the form the caller expects: one for a single input, else a list.

        Args:
            answers: one a text.
            inputs: what the caller gave.
            single: whether that was one text, not a list of them.
            named: the options the caller named in this call.
        """
        del inputs, named
        return answers[0] if single else answers

    # options

    @classmethod
    def options(cls) -> list[str]:
        """Return the names of the options."""
        return [field.name for field in dataclasses.fields(cls) if field.name not in cls.given]

    def with_options(self, **options: Any) -> Self:
        """Return the task with other options; ``tokenizer_kwargs`` and ``tokenize_kwargs`` hold some of them.

        Raises:
            InputTypeError: an option that does not exist.
            InputError: an option out of its range.
        """
        for name in ("tokenizer_kwargs", "tokenize_kwargs"):
            options |= options.pop(name, None) or {}
        for name in options:
            if name not in self.options():
                raise InputTypeError(
                    f"This task has no option {name!r}; it has {', '.join(self.options())}."
                    f"{nearest(name, self.options())}"
                )
        return dataclasses.replace(self, **options) if options else self


def check_count(name: str, value: Any, most: int | None = None) -> None:
    """Refuse a count that is no integer of at least 1 (and at most ``most``).

    Raises:
        InputTypeError, InputError: naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputTypeError(f"{name} is {value!r}; it must be an integer.")
    if value < 1 or (most is not None and value > most):
        raise InputError(f"{name} is {value}; allowed are 1 to {'any number' if most is None else most}.")
