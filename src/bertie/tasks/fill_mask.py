"""Fill-mask: which words fit at the [MASK] of a text. The head runs on the masked tokens only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bertie.errors import InputError, InputTypeError, spelled
from bertie.progress import say_once
from bertie.tasks.arrays import Array, Integers
from bertie.tasks.features import Features, Outputs
from bertie.tasks.model import Model
from bertie.tasks.operations import Computed, operations_on
from bertie.tasks.task import Task
from bertie.tasks.text_encoder import check_count

Candidate = dict[str, Any]
# the scores of a mask's best words, and the words
Best = tuple[list[float], list[int]]
# logits [M, V] → the scores of each mask's best words, best first, and the words' ids, [M, k] each
FindBest = Callable[[Computed], tuple[Array, Integers]]
# the orders in which masks can be filled jointly
ORDERS = ("left-to-right", "confidence")


@dataclass(frozen=True, kw_only=True)
class FillMask(Task):
    """An answer has the reference's form: a list of candidates, or with several masks a list of such lists."""

    top_k: int = 5  # candidates per mask
    targets: str | Sequence[str] | None = None  # a word, or words, to choose from, instead of the whole vocabulary
    # fills the masks of a text one after another, so that their words fit together: "left-to-right", or "confidence",
    # the most confident first (Mask-Predict). The best candidates of all masks make one text; each ``sequence`` is that
    # text with its own candidate. None fills each mask independently
    jointly: str | None = None
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"jointly": ORDERS}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jointly is not None and self.windows:
            raise InputError("Masks are filled jointly only in texts read whole; leave out jointly or windows.")
        check_count("top_k", self.top_k, self.config.vocab_size)
        if self.tokenizer.mask_token_id is None:
            raise InputError("This tokenizer has no mask token, so there is nothing to fill.")

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        features = super().encode(inputs, first)
        mask = self.tokenizer.mask_token_id
        rows = features.input_ids
        for index, row_range in enumerate(features.row_ranges()):
            if not any(mask in rows[row] for row in row_range):
                cut = features.truncated[index]
                advice = f"{cut} tokens were cut off, any mask with them: shorten it" if cut else "put one for a word"
                raise InputError(f"Text {first + index} has no {self.tokenizer.mask_token} to fill; {advice}.")
        return features

    def run(self, model: Model, features: Features) -> Computed:
        """Return the logits ``[M, V]`` of the ``M`` masks in the batch, or what `fill_jointly` returns."""
        masks = self._masks(features)
        if self.jointly is None:
            return model.masked_lm(features, masks)
        return fill_jointly(model, features, masks, self.jointly, self.tokenizer.mask_token_id, self._best)

    def rows(self, output: Any, features: Features) -> list[list[Best]]:
        scores, words = self._best(output) if self.jointly is None else (output["scores"], output["words"])
        return features.at_places(list(zip(scores.tolist(), words.tolist(), strict=True)), self._masks(features))

    def _best(self, logits: Any) -> tuple[Array, Integers]:
        """Return the scores and ids of each mask's best words, ``[M, k]`` each."""
        targets = self._target_ids
        count = min(self.top_k, logits.shape[1] if targets is None else len(targets))
        scores, places = operations_on(logits).top_k(logits, count, targets)
        return scores, places if targets is None else np.asarray(targets)[places]

    def combine(self, rows: Sequence[Any], features: Features) -> list[tuple[list[int], list[Best]]]:
        """Return all ids of each text, and the best words of its masks."""
        ids = features.by_input(features.keep_owned(features.by_row(features.ids)))
        masks = features.by_input(rows)
        return [
            (np.concatenate(own).tolist(), [best for row in found for best in row])
            for own, found in zip(ids, masks, strict=True)
        ]

    def decode(self, outputs: Outputs) -> list[Any]:
        return [self._text_answer(*value) for value in outputs.values]

    def format_output(self, answers: list[Any], inputs: object, single: bool, named: Sequence[str]) -> Any:
        # as in the reference, a list of one text is answered like a single text
        return super().format_output(answers, inputs, single or (isinstance(inputs, list) and len(inputs) == 1), named)

    def _masks(self, features: Features) -> Integers:
        """Return the positions of the masks that their rows own."""
        found = features.ids == self.tokenizer.mask_token_id
        return np.flatnonzero(found if features.owned is None else found & features.owned)

    def _text_answer(self, text: list[int], rows: list[Best]) -> Any:
        masks = [place for place, token in enumerate(text) if token == self.tokenizer.mask_token_id]
        if self.jointly is not None:
            first = {mask: tokens[0] for mask, (_, tokens) in zip(masks, rows, strict=True)}
            text = [first.get(place, token) for place, token in enumerate(text)]
        whole = len(masks) == 1 or self.jointly is not None
        answers = [
            [self._candidate(text, mask, *pair, whole) for pair in zip(scores, tokens, strict=True)]
            for mask, (scores, tokens) in zip(masks, rows, strict=True)
        ]
        return answers[0] if len(masks) == 1 else answers

    def _candidate(self, text: list[int], mask: int, score: float, token: int, whole: bool) -> Candidate:
        filled = [*text[:mask], token, *text[mask + 1 :]]
        shown = [one for one in filled if one != self.tokenizer.pad_token_id]
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.decode([token]),
            # unfilled masks must stay visible, so [CLS] and [SEP] do too
            "sequence": self.tokenizer.decode(shown, skip_special_tokens=whole),
        }

    @cached_property
    def _target_ids(self) -> list[int] | None:
        if self.targets is None:
            return None
        targets = [self.targets] if isinstance(self.targets, str) else self.targets
        if not isinstance(targets, Iterable):
            raise InputTypeError(f"targets is {targets!r:.60}; give a word, or a list of words.")
        ids = {found for target in targets if (found := self._target_id(target)) is not None}
        if not ids:
            raise InputError(f"{spelled('targets')} must name at least one word in the vocabulary.")
        return sorted(ids)

    def _target_id(self, target: str) -> int | None:
        """Return a word's id, or that of its first piece if it is not in the vocabulary."""
        known: int | None = self.tokenizer.get_vocab().get(target)
        if known is not None:
            return known
        pieces: list[int] = self.tokenizer(target, add_special_tokens=False)["input_ids"]
        if not pieces:
            say_once(f"The target {target!r} has no token in the vocabulary; it is left out.")
            return None
        piece = self.tokenizer.convert_ids_to_tokens(pieces[0])
        say_once(f"The target {target!r} is not in the vocabulary; its first piece {piece!r} is used instead.")
        return pieces[0]


def fill_jointly(
    model: Model, features: Features, masks: Integers, order: str, mask_token_id: int, best: FindBest
) -> Mapping[str, Array]:
    """Return ``scores`` and ``words [M, k]`` of the masks at positions ``[M]``, each as last predicted.

    "left-to-right" fills the first remaining mask. "confidence" is Mask-Predict (Ghazvininejad et al. 2019, section 3)
    with as many iterations as a text has masks: all masks are predicted, and in iteration t the N - t least likely
    words are masked again. Both run a text once per mask.
    """
    rows = features.rows_of(masks)
    counts = np.bincount(rows, minlength=len(features.lengths))
    numbers = np.arange(len(masks)) - (np.cumsum(counts) - counts)[rows]  # of each mask within its text
    ids, found = features.ids.copy(), None
    for step in range(counts.max(initial=0)):
        if order == "left-to-right":
            is_masked, is_predicted = numbers >= step, numbers == step
        else:
            confidence = np.zeros(len(masks)) if found is None else found[0][:, 0]
            is_masked = is_predicted = _ranks(confidence, rows, numbers) < (counts - step)[rows]
        ids[masks[is_masked]] = mask_token_id
        new = best(_masked_lm_logits(model, replace(features, ids=ids), masks[is_predicted]))
        if found is None:
            found = tuple(np.zeros((len(masks), part.shape[1]), part.dtype) for part in new)
        for part, predicted in zip(found, new, strict=True):
            part[is_predicted] = predicted
        ids[masks[is_predicted]] = new[1][:, 0]
    scores, words = found if found is not None else (np.zeros((0, 1)), np.zeros((0, 1), np.int64))
    return {"scores": scores, "words": words}


def _masked_lm_logits(model: Model, features: Features, places: Integers) -> Any:
    """Return the logits ``[m, V]`` at ``places``; rows without one are not computed."""
    rows, index = np.unique(features.rows_of(places), return_inverse=True)
    part = features.select(rows.tolist())
    shifts = part.starts - features.starts[rows]
    return model.masked_lm(part, places + shifts[index])


def _ranks(scores: Array, rows: Integers, numbers: Integers) -> Integers:
    """Return each mask's rank ``[M]`` by score within its text, from 0 for the lowest."""
    ranks = np.empty_like(numbers)
    ranks[np.lexsort((scores, rows))] = numbers
    return ranks
