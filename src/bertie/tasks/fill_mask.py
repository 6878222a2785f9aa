"""Fill-mask: which words fit at the [MASK] of a text. The head runs on the masks alone, not on every token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from bertie.errors import InputError
from bertie.packing import Packed
from bertie.report import say_once
from bertie.tasks.features import Features
from bertie.tasks.task import Task, check_count

Candidate = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FillMask(Task):
    """Answers are the reference's: a list of candidates, or for a text with several masks a list of such lists.

    Args:
        top_k: how many candidates to give for a mask.
        targets: a word, or words, to choose from, instead of the whole vocabulary.
    """

    top_k: int = 5
    targets: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_count("top_k", self.top_k, self.config.vocab_size)
        if self.tokenizer.mask_token_id is None:
            raise InputError("This tokenizer has no mask token, so there is nothing to fill.")

    def encode(self, texts: Sequence[Any], first: int = 0) -> Features:
        """As `Task.encode`; in addition every text must hold a mask.

        Raises:
            InputError: a text without a mask, or one whose mask was cut off.
        """
        features = super().encode(texts, first)
        mask = self.tokenizer.mask_token_id
        for index, ids in enumerate(features.input_ids):
            if mask not in ids:
                cut = features.truncated[index]
                why = f"; {cut} tokens were cut off, any mask with them: shorten it" if cut else ""
                raise InputError(f"Text {first + index} has no {self.tokenizer.mask_token} to fill{why}.")
        return features

    def run(self, model: Any, packed: Packed) -> Tensor:
        """Return the logits ``[M, V]`` of the ``M`` masks in the batch."""
        hidden = model.bert(packed).last_hidden_state
        assert packed.input_ids is not None
        masks = (packed.input_ids == self.tokenizer.mask_token_id).nonzero().squeeze(1)
        return model.cls.predictions(hidden.index_select(0, masks))

    def decode(self, output: Tensor, features: Features) -> list[Any]:
        """Return the best candidates of each text, best first."""
        scores = output.float().softmax(dim=-1)
        ids = self._target_ids
        if ids is not None:
            scores = scores[:, ids]
        best, places = scores.topk(min(self.top_k, scores.shape[1]), dim=-1)
        rows = zip(best.tolist(), places.tolist(), strict=True)
        return [self._text_answer(text, rows, ids) for text in features.input_ids]

    def laid_out(self, answers: list[Any], inputs: Any, single: bool, named: Sequence[str]) -> Any:
        """As `Task.laid_out`; as in the reference, a list of one text is answered like the text alone."""
        return super().laid_out(answers, inputs, single or (isinstance(inputs, list) and len(inputs) == 1), named)

    def _text_answer(
        self, text: list[int], rows: Iterable[tuple[list[float], list[int]]], targets: list[int] | None
    ) -> Any:
        masks = [place for place, token in enumerate(text) if token == self.tokenizer.mask_token_id]
        answers = []
        for mask, (scores, found) in zip(masks, rows, strict=False):
            tokens = found if targets is None else [targets[index] for index in found]
            answers.append(
                [self._candidate(text, mask, *pair, len(masks) == 1) for pair in zip(scores, tokens, strict=True)]
            )
        return answers[0] if len(masks) == 1 else answers

    def _candidate(self, text: list[int], mask: int, score: float, token: int, only: bool) -> Candidate:
        filled = [*text[:mask], token, *text[mask + 1 :]]
        shown = [one for one in filled if one != self.tokenizer.pad_token_id]
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.decode([token]),
            # with several masks the other ones must stay visible, and so do [CLS] and [SEP]
            "sequence": self.tokenizer.decode(shown, skip_special_tokens=only),
        }

    @cached_property
    def _target_ids(self) -> list[int] | None:
        if self.targets is None:
            return None
        targets = [self.targets] if isinstance(self.targets, str) else list(self.targets)
        ids = {found for target in targets if (found := self._target_id(target)) is not None}
        if not ids:
            raise InputError("targets must name at least one word of the vocabulary.")
        return sorted(ids)

    def _target_id(self, target: str) -> int | None:
        """Return a word's id; of a word that is not in the vocabulary, that of its first piece."""
        known: int | None = self.tokenizer.get_vocab().get(target)
        if known is not None:
            return known
        pieces: list[int] = self.tokenizer(target, add_special_tokens=False)["input_ids"]
        if not pieces:
            say_once(f"The target {target!r} has no token in the vocabulary; it is left out.")
            return None
        piece = self.tokenizer.convert_ids_to_tokens(pieces[0])
        say_once(f"The target {target!r} is not in the vocabulary; its first piece {piece!r} stands for it.")
        return pieces[0]
