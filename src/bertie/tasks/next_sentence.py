"""Next sentence: does the second text of a pair follow the first? (BERT, section 3.1, task 2)"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bertie.errors import InputError
from bertie.packing import Packed
from bertie.tasks.features import Features
from bertie.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class NextSentence(Task):
    """An answer is ``{"is_next": bool, "score": float}``; the score is the probability that B follows A."""

    def encode(self, texts: Sequence[Any], first: int = 0) -> Features:
        """As `Task.encode`; in addition every input must be a pair.

        Raises:
            InputError: an input that is a single text.
        """
        for index, text in enumerate(texts):
            if not isinstance(self.read(text), tuple):
                raise InputError(f"Input {first + index} is no pair of texts; give (A, B), or a mapping with both.")
        return super().encode(texts, first)

    def run(self, model: Any, packed: Packed) -> Tensor:
        """Return the logits ``[B, 2]``: column 0 speaks for "B follows A"."""
        # not model(packed).logits: a model with both pretraining heads serves as well, without its other head
        pooled: Tensor = model.bert(packed).pooler_output
        return model.cls.seq_relationship(pooled)

    def decode(self, output: Tensor, features: Features) -> list[dict[str, Any]]:
        """Return the probability of each pair."""
        del features
        return [{"is_next": score >= 0.5, "score": score} for score in output.float().softmax(dim=-1)[:, 0].tolist()]
