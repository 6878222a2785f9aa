"""Texts, or lists of words, as rows; and the logits of their pieces, windows put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from bertie.errors import InputTypeError
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features
from bertie.tasks.model import Model
from bertie.tasks.operations import operations_on
from bertie.tasks.trainable import ScoredTask
from bertie.tasks.windows import first_piece
from bertie.tokenization.encoding import Encoding


@dataclass(frozen=True, kw_only=True)
class WordTask(ScoredTask):
    """A task that has logits for every piece of a text, or of a list of words."""

    needs_places: ClassVar[bool] = True

    def check(self, inputs: Sequence[Any], first: int) -> None:
        for index, one in enumerate(inputs):
            if not isinstance(one, str | Mapping) and not is_words(one):
                raise InputTypeError(
                    f"Input {first + index} is {one!r:.60} ({type(one).__name__}); it must be a str or a list of words."
                )

    def read(self, text: Any) -> Any:
        if isinstance(text, Mapping):
            if list(text) != ["text"]:
                raise InputTypeError(f"A text given as a mapping has 'text' alone, not {sorted(text)}.")
            text = text["text"]
        return list(text) if is_words(text) else text

    def encode(self, inputs: Sequence[Any], first: int = 0) -> Features:
        self.check(inputs, first)
        texts = [self.read(one) for one in inputs]
        kinds = [isinstance(text, list) for text in texts]
        if any(kinds) and not all(kinds):
            odd = kinds.index(not kinds[0])
            raise InputTypeError(
                f"Input {first + odd} is {'words' if kinds[odd] else 'a text'} and input {first} is not: give texts, "
                "or lists of words."
            )
        return replace(self._windowed(texts) if self.windows else self._one_row_each(texts), texts=texts)

    def _one_row_each(self, texts: list[Any]) -> Features:
        truncation = False if self.truncation is False else self.truncation or True
        rows = list(self._rows(texts, truncation=truncation, max_length=self.limit if truncation else None))
        cut, empty = [row.tokens_cut for row in rows], [row.is_empty for row in rows]
        return Features.from_groups([[row] for row in rows], cut, empty)

    def _rows(self, inputs: list[Any], **more: Any) -> list[Encoding]:
        split = bool(inputs) and isinstance(inputs[0], list)
        return list(super()._rows(inputs, is_split_into_words=split, **more)) if inputs else []

    def run(self, model: Model, features: Features) -> Any:
        """Return the logits ``[T, C]``."""
        return model.logits(features)

    def rows(self, output: Any, features: Features) -> list[Array]:
        """Return the logits ``[n, C]`` of each row."""
        return features.by_row(operations_on(output).to_host(output))

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        """Return the logits ``[n, C]`` of each input's pieces, each from the window that owns it."""
        own = None if features.owned is None else features.by_row(features.owned)
        found = []
        for group in features.groups_read():
            parts = [rows[row] if own is None else rows[row][own[row]] for row in group.rows]
            first = first_piece(group.encodings[0])
            found.append(np.concatenate(parts)[first : first + len(group.read)])
        return found


def is_words(value: Any) -> bool:
    """Whether ``value`` is a list of words."""
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)
