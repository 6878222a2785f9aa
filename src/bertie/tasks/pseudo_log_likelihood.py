"""Pseudo-log-likelihood: how likely a text is to a masked-LM model, the sum over its tokens, each masked in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.tasks.alignment import continuing_prefix, find_continuing
from bertie.tasks.arrays import Integers, ranges
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.task import Task

VARIANTS = ("original", "word-l2r")


@dataclass(frozen=True, eq=False)
class MaskedCopies(Features):
    """A row for each of R tokens to score: a copy of its text with that token masked, made when it is selected."""

    read: Features = field(kw_only=True)  # the texts themselves, or their windows
    sources: Integers = field(kw_only=True)  # [R], the row of ``read`` that each is a copy of
    offsets: Integers = field(kw_only=True)  # [R], where the token stands in it
    widths: Integers = field(kw_only=True)  # [R], how many tokens are masked from there on
    mask_token_id: int = field(kw_only=True)  # what stands in their place

    @classmethod
    def of(cls, read: Features, places: Integers, widths: Integers, mask_token_id: int) -> Self:
        """Return copies of texts for their tokens at rising ``places [R]``."""
        sources = read.rows_of(places)
        return cls(
            **{name: getattr(read, name) for name in ("ids", "types", "truncated", "empty")},
            lengths=(read.stops - read.starts)[sources].tolist(),
            owners=read.owner_of_rows[sources],
            read=read,
            sources=sources,
            offsets=places - read.starts[sources],
            widths=widths,
            mask_token_id=mask_token_id,
        )

    def select(self, rows: Sequence[int]) -> Features:
        """Return these copies; labels ``[T]`` say what the token to score is, and of the others nothing."""
        part = self.read.select(self.sources[rows].tolist())
        places = part.starts + self.offsets[rows]
        ids, labels = part.ids.copy(), np.full_like(part.ids, IGNORED)
        labels[places] = ids[places]
        ids[ranges(places, self.widths[rows])] = self.mask_token_id
        return replace(part, ids=ids).with_labels(labels, "token")


@dataclass(frozen=True, kw_only=True)
class PseudoLogLikelihood(Task):
    """An answer is a text's score, the sum of its tokens' log-probabilities, and how many tokens that are.

    Control tokens such as ``[CLS]`` and ``[MASK]`` are read and not scored. The pseudo-perplexity of N texts is
    ``exp(-sum(scores) / sum(num_tokens))``.
    """

    # "original" masks the token that is scored alone (Salazar et al. 2020, section 2.1); "word-l2r" masks the rest of
    # its word too, which would give it away (Kauf & Ivanova 2023, section 2)
    variant: str = "original"
    return_tokens: bool = False  # True adds the ``tokens``, each with its own ``score``
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"variant": VARIANTS}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer.mask_token_id is None:
            raise InputError("This tokenizer has no mask token, so no token can be scored by the others.")
        if self.variant == "word-l2r" and continuing_prefix(self.tokenizer) is None:
            raise InputError("This tokenizer's tokens don't show where words begin; use variant='original'.")

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        read = super().encode(inputs, first)
        control = [getattr(self.tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad", "mask")]
        scored = ~np.isin(read.ids, control)
        places = np.flatnonzero(scored if read.owned is None else scored & read.owned)
        widths = np.ones_like(places) if self.variant == "original" else self._rest_of_words(read)[places]
        return MaskedCopies.of(read, places, widths, self.tokenizer.mask_token_id)

    def run(self, model: Model, features: Features) -> Computed:
        """Return the logits ``[R, V]`` of the token to score in each of ``R`` copies."""
        return model.masked_lm(features, features.labelled)

    def rows(self, output: Any, features: Features) -> list[float]:
        wanted = features.wanted[features.labelled]
        return (-operations_on(output).guessed(output, wanted)[:, 1]).tolist()

    def combine(self, rows: Sequence[Any], features: Features) -> list[list[Any]]:
        return features.by_input(rows)

    def decode(self, outputs: Outputs) -> list[dict[str, Any]]:
        features: Any = outputs.features
        answers: list[dict[str, Any]] = [
            {"score": float(sum(scores)), "num_tokens": len(scores)} for scores in outputs.values
        ]
        if not self.return_tokens:
            return answers
        places = features.read.starts[features.sources] + features.offsets
        words = self.tokenizer.convert_ids_to_tokens(features.ids[places].tolist())
        for answer, scores, group in zip(answers, outputs.values, features.groups(), strict=True):
            answer["tokens"] = [{"token": words[row], "score": score} for row, score in zip(group, scores, strict=True)]
        return answers

    def _rest_of_words(self, read: Features) -> Integers:
        """Return for each token how many tokens of its word begin there, itself included, ``[T]``."""
        continues = find_continuing(self.tokenizer)[read.ids]
        continues[read.starts] = False
        # the next token that begins a word, or the end
        begins = np.append(np.flatnonzero(~continues), len(read.ids))
        places = np.arange(len(read.ids))
        return begins[np.searchsorted(begins, places, side="right")] - places
