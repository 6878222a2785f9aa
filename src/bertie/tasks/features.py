"""What a task makes of texts before the model sees them: ids without padding, and what had to be left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bertie.packing import Packed


@dataclass(frozen=True)
class Features:
    """N texts as token ids; every list has one entry a text.

    Attributes:
        input_ids, token_type_ids: one list a text, special tokens included.
        truncated: how many tokens of each text were cut off.
        empty: whether a text has no token but the special ones.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]]
    truncated: list[int]
    empty: list[bool]

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each text."""
        return [len(ids) for ids in self.input_ids]

    def select(self, texts: Sequence[int]) -> "Features":
        """Return the features of the texts with these indices, in this order."""
        lists = (self.input_ids, self.token_type_ids, self.truncated, self.empty)
        return Features(*([values[text] for text in texts] for values in lists))  # type: ignore[arg-type]

    def packed(self, device: torch.device | str | None = None) -> Packed:
        """Return the texts as one packed batch on ``device``."""
        return Packed.from_lists(self.input_ids, self.token_type_ids, device=device)
