"""What a tokenizer returns: a dictionary of ids and masks that also knows where each token lies in its text."""

from collections import UserDict
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.extras import need
from bertie.progress import logger
from bertie.tokenization.arguments import one_of
from bertie.tokenization.encoding import CharSpan, Encoding, TokenSpan


class BatchEncoding(UserDict[Any, Any]):
    """Ids, masks and whatever else was requested, by name; pass it on as ``model(**encoding)``.

    A value is a list (of lists, for a batch) of ints, or with ``return_tensors`` an int64 tensor or array ``[B, S]``.
    Values are also attributes. ``encoding[i]`` is row ``i`` with its offsets and words, and the methods below map
    between tokens, words and characters; they take ``(row, index)``, or the index alone for row 0. They raise
    `InputError` if the values came without rows.

    Args:
        data: the values by name.
        encoding: the rows that the values were made from.
        tensor_type: ``"pt"`` or ``"np"``: turn the values into tensors or arrays.
        prepend_batch_axis: give tensors and arrays a first axis of length 1.
        n_sequences: 1 for single texts, 2 for pairs.
    """

    encodings: Sequence[Encoding] | None = None
    """The rows, or None where the values came without them."""

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data)
        self.encodings = [encoding] if isinstance(encoding, Encoding) else encoding
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None if it is not known."""
        if self._n_sequences is None and self.encodings:
            return self.encodings[0].n_sequences
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether there are rows with offsets and words."""
        return self.encodings is not None

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, str):
            return self.data[item]
        if self.encodings is not None:
            return self.encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(f"{item!r}: give a name or a slice; only the result of a tokenizer's call has single rows")

    def __getattr__(self, item: str) -> Any:
        # copying and unpickling look up attributes before there are any
        data = self.__dict__.get("data", {})
        if item not in data:
            raise AttributeError(f"this BatchEncoding has no {item!r}; it has {', '.join(map(str, data))}")
        return data[item]

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "encodings": self.encodings, "n_sequences": self._n_sequences}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.data = state["data"]
        self.encodings = state["encodings"]
        self._n_sequences = state["n_sequences"]

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of a row."""
        return self._row("tokens", batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the number of each token's word; None for special tokens and padding."""
        return self._row("word_ids", batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the text, 0 or 1, of each token of a row; None for special tokens and padding."""
        return self._row("sequence_ids", batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the text (0 or 1) that a token comes from, or None."""
        return self._ask_row("token_to_sequence", batch_or_token_index, token_index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the number of a token's word, or None."""
        return self._ask_row("token_to_word", batch_or_token_index, token_index)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters of a token, or None for a special token."""
        return self._ask_row("token_to_chars", batch_or_token_index, token_index)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word of text ``sequence_index``, or None."""
        return self._ask_row("word_to_tokens", batch_or_word_index, word_index, sequence_index)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word of text ``sequence_index``, or None."""
        return self._ask_row("word_to_chars", batch_or_word_index, word_index, sequence_index)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the token that holds a character of text ``sequence_index``, or None (white space)."""
        return self._ask_row("char_to_token", batch_or_char_index, char_index, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the word that holds a character of text ``sequence_index``, or None (white space)."""
        return self._ask_row("char_to_word", batch_or_char_index, char_index, sequence_index)

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> Self:
        """Turn every value into a tensor (``"pt"``) or array (``"np"``), int64 if it is empty; None does nothing.

        Raises:
            InputError: the rows have different lengths, or the type of tensor does not exist.
        """
        if tensor_type is None:
            return self
        tensors = one_of("return_tensors", tensor_type, ("pt", "np")) == "pt"
        torch: Any = need("torch", "torch", f"return_tensors={tensor_type!r}") if tensors else None
        for key, value in self.data.items():
            if tensors and isinstance(value, torch.Tensor) and not prepend_batch_axis:
                continue
            try:
                array = _as_array([value] if prepend_batch_axis else value)
                self.data[key] = torch.from_numpy(np.ascontiguousarray(array)) if tensors else array
            except (ValueError, TypeError, RuntimeError) as error:
                raise InputError(
                    f"the values of {key!r} make no tensor: {error}; "
                    "rows of different lengths need padding=True (and truncation=True, to fit the model)"
                ) from error
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> Self:
        """Move every tensor to ``device`` in place, and return this encoding."""
        import torch

        if not isinstance(device, (str, int, torch.device)):
            # wrappers that cast a model's inputs to a dtype must not cast ids
            logger.warning("a BatchEncoding can only be moved to a device; %s was ignored", device)
            return self
        for key, value in self.data.items():
            if isinstance(value, torch.Tensor):
                self.data[key] = value.to(device, non_blocking=non_blocking)
        return self

    def _row(self, method: str, index: int) -> Encoding:
        if not self.encodings:
            raise InputError(f"{method}() needs a text that a tokenizer encoded; this BatchEncoding has only values")
        return self.encodings[index]

    def _ask_row(self, method: str, row_or_index: int, index: int | None, *sequence: int) -> Any:
        """Call the method of a row. An index alone is one of row 0, and negative token indices count from the end."""
        number, index = (0, row_or_index) if index is None else (row_or_index, index)
        row = self._row(method, number)
        from_end = method.startswith("token_") and index < 0
        return getattr(row, method)(index + len(row) if from_end else index, *sequence)


def _as_array(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind in "US":
        raise InputTypeError(f"it holds {array.dtype.type.__name__} values, not numbers")
    return array.astype(np.int64) if array.size == 0 else array
