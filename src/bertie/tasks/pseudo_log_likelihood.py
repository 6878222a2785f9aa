"""Pseudo-log-likelihood: how likely a masked-LM model finds a text, summed over its tokens, each masked in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from bertie.config import IGNORED
from bertie.errors import InputError
from bertie.tasks.alignment import continuation_mask, continuing_prefix
from bertie.tasks.arrays import Integers, ranges
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.task import Task

VARIANTS = ("original", "word-l2r")


@dataclass(frozen=True, eq=False)
class MaskedCopies(Features):
    """A row for each of R tokens to score: a copy of its text with that token masked, made when it is selected."""

    originals: Features = field(kw_only=True)  # the texts themselves, or their windows
    sources: Integers = field(kw_only=True)  # [R], the row of ``originals`` that each is a copy of
    offsets: Integers = field(kw_only=True)  # [R], the token's position in that row
    widths: Integers = field(kw_only=True)  # [R], how many tokens are masked, beginning there
    mask_token_id: int = field(kw_only=True)  # what they are masked with

    @classmethod
    def of(cls, originals: Features, places: Integers, widths: Integers, mask_token_id: int) -> Self:
        """Return copies for the tokens at ascending positions ``places [R]``."""
        sources = originals.rows_of(places)
        return cls(
            **{name: getattr(originals, name) for name in ("ids", "types", "truncated", "empty")},
            lengths=(originals.stops - originals.starts)[sources].tolist(),
            owners=originals.owner_of_rows[sources],
            originals=originals,
            sources=sources,
            offsets=places - originals.starts[sources],
            widths=widths,
            mask_token_id=mask_token_id,
        )

    def select(self, rows: Sequence[int]) -> Features:
        """Return these copies, with labels ``[T]``: the id of the token to score, `IGNORED` elsewhere."""
        part = self.originals.select(self.sources[rows].tolist())
        places = part.starts + self.offsets[rows]
        ids, labels = part.ids.copy(), np.full_like(part.ids, IGNORED)
        labels[places] = ids[places]
        ids[ranges(places, self.widths[rows])] = self.mask_token_id
        return replace(part, ids=ids).with_labels(labels, "token")


@dataclass(frozen=True, kw_only=True)
class PseudoLogLikelihood(Task):
    """An answer is a text's score, the sum of its tokens' log-probabilities, and their number.

    Special tokens such as ``[CLS]`` and ``[MASK]`` are read but not scored. The pseudo-perplexity of N texts is
    ``exp(-sum(scores) / sum(num_tokens))``.
    """

    # "original" masks only the token that is scored (Salazar et al. 2020, section 2.1); "word-l2r" also masks the rest
    # of its word, which would give it away (Kauf & Ivanova 2023, section 2)
    variant: str = "original"
    return_tokens: bool = False  # True adds ``tokens``, each with its ``score``
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"variant": VARIANTS}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer.mask_token_id is None:
            raise InputError("This tokenizer has no mask token, so no token can be scored from its context.")
        if self.variant == "word-l2r" and continuing_prefix(self.tokenizer) is None:
            raise InputError("This tokenizer's tokens do not show where words begin; use variant='original'.")

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        originals = super().encode(inputs, first)
        special = [getattr(self.tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad", "mask")]
        is_scored = ~np.isin(originals.ids, special)
        places = np.flatnonzero(is_scored if originals.owned is None else is_scored & originals.owned)
        widths = np.ones_like(places) if self.variant == "original" else self._rest_of_words(originals)[places]
        return MaskedCopies.of(originals, places, widths, self.tokenizer.mask_token_id)

    def run(self, model: Model, features: Features) -> Computed:
        """Return the logits ``[R, V]`` of the token to score in each of ``R`` copies."""
        return model.masked_lm(features, features.labelled)

    def rows(self, output: Any, features: Features) -> list[float]:
        targets = features.targets[features.labelled]
        return (-operations_on(output).correct_and_loss(output, targets)[:, 1]).tolist()

    def combine(self, rows: Sequence[Any], features: Features) -> list[list[Any]]:
        return features.by_input(rows)

    def decode(self, outputs: Outputs) -> list[dict[str, Any]]:
        features: Any = outputs.features
        answers: list[dict[str, Any]] = [
            {"score": float(sum(scores)), "num_tokens": len(scores)} for scores in outputs.values
        ]
        if not self.return_tokens:
            return answers
        places = features.originals.starts[features.sources] + features.offsets
        words = self.tokenizer.convert_ids_to_tokens(features.ids[places].tolist())
        for answer, scores, rows in zip(answers, outputs.values, features.row_ranges(), strict=True):
            answer["tokens"] = [{"token": words[row], "score": score} for row, score in zip(rows, scores, strict=True)]
        return answers

    def _rest_of_words(self, originals: Features) -> Integers:
        """Return for each token how many tokens its word still has, itself included, ``[T]``."""
        continues = continuation_mask(self.tokenizer)[originals.ids]
        continues[originals.starts] = False
        # the tokens that begin a word, and the end
        begins = np.append(np.flatnonzero(~continues), len(originals.ids))
        places = np.arange(len(originals.ids))
        return begins[np.searchsorted(begins, places, side="right")] - places
