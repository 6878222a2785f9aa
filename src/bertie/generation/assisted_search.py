"""Assisted decoding: words are drafted cheaply, and the model reads all of a draft in one step.

Greedily the texts are those of the search without drafts; drawn ones have its distribution (Leviathan et al. 2023,
Algorithm 1).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from bertie.generation.decoder import Decoder, StepOutput
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import chances_of, drawn, likeliest
from bertie.progress import say_once

# what the reference drafts where nothing is said
ASSISTANT_TOKENS, CONFIDENCE_THRESHOLD, NGRAM_SIZE = 20, 0.4, 2


class Draft(NamedTuple):
    """Words ``[n]`` that may come next, and what each was drawn from, ``[n, V]``; None: each was certain."""

    words: Tensor
    chances: Tensor | None = None


class Drafter(Protocol):
    """What drafts words of one text."""

    def draft(self, ids: Tensor, count: int, plan: GenerationPlan) -> Draft:
        """Return at most ``count`` words to come after ``ids [1, S]``; none is a draft, too."""


@dataclass(frozen=True)
class PromptLookup:
    """What came after the text's last words where they stood before: of the most words, the first place.

    ``num_tokens``: how many words a draft has at most; ``ngram_size``: how many last words are looked up at most.
    """

    num_tokens: int
    ngram_size: int = NGRAM_SIZE

    def draft(self, ids: Tensor, count: int, plan: GenerationPlan) -> Draft:  # noqa: ARG002
        """See `Drafter.draft`."""
        text = ids[0]
        for size in range(min(self.ngram_size, len(text) - 1), 0, -1):
            places = (text[:-1].unfold(0, size, 1) == text[-size:]).all(dim=1).nonzero()
            if len(places):
                start = int(places[0]) + size
                return Draft(text[start : start + min(count, self.num_tokens)])
        return Draft(text[:0])


class AssistantDrafter:
    """What a smaller model writes, until it is unsure; it keeps a cache of its own.

    Args:
        decoder: the model, which has read nothing.
        prompts: ``[1, S]``, what it reads first.
        num_tokens: how many words a draft has at most.
        threshold: a word less likely than this is a draft's last.
    """

    def __init__(self, decoder: Decoder, prompts: Tensor, num_tokens: int, threshold: float) -> None:
        self.decoder, self.prompts, self.num_tokens, self.threshold = decoder, prompts, num_tokens, threshold
        self._read = 0

    def draft(self, ids: Tensor, count: int, plan: GenerationPlan) -> Draft:
        """See `Drafter.draft`."""
        count = min(count, self.num_tokens, self.decoder.limit + 1 - ids.shape[1])
        text, chances = ids, list[Tensor]()
        logits = self._catch_up(ids) if count > 0 else None
        while logits is not None:
            scores = plan.process(text, logits[-1:].float())
            if not bool(scores.amax().isfinite()):  # whether a word is left, the model says
                if bool(scores.isnan().any()):
                    say_once("the scores of assistant_model hold NaN, so it drafts nothing; look among its weights")
                break
            chances.append(scores.softmax(dim=-1))
            word = drawn(chances[-1], plan.generator) if plan.config.do_sample else scores.argmax(dim=-1)
            text = torch.cat([text, word[None]], dim=1)
            is_last = len(chances) == count or int(word) in plan.ends or float(chances[-1][0, word]) < self.threshold
            logits = None if is_last else self._next(word)
        words = text[0, ids.shape[1] :]
        return Draft(words, torch.cat(chances) if chances and plan.config.do_sample else None)

    def _catch_up(self, ids: Tensor) -> Tensor:
        """Forget what was drafted in vain, read what the text has instead, and return the scores after it."""
        if self._read == 0:
            self.decoder.step(self.prompts)
            self._read = self.prompts.shape[1]
        known = min(self._read, ids.shape[1] - 1)
        self.decoder.forget(self._read - known)
        self._read = known
        return self._next(ids[0, known:])

    def _next(self, words: Tensor) -> Tensor:
        self._read += len(words)
        return self.decoder.read(words)


class AssistedSearch:
    """A search under way: the text so far, and whether it has ended."""

    def __init__(self, decoder: Decoder, prompts: Tensor, plan: GenerationPlan, drafter: Drafter) -> None:
        self.decoder, self.plan, self.drafter = decoder, plan, drafter
        self.record = StepRecord(plan.config)
        self.length, self.has_ended = prompts.shape[1], False
        self._text = prompts.new_zeros(1, plan.max_length)
        self._text[:, : self.length] = prompts
        self._running = torch.ones(1, dtype=torch.bool, device=prompts.device)

    @property
    def ids(self) -> Tensor:
        """``[1, S]``."""
        return self._text[:, : self.length]

    def run(self) -> Generated:
        """Search until the text ends."""
        self._go_on(self.decoder.step(self.ids).logits, Draft(self.ids[0, :0]))
        while not self.has_ended:
            draft = self.drafter.draft(self.ids, self.plan.max_length - self.length - 1, self.plan)
            read = self.length + len(draft.words)
            self._go_on(self.decoder.read(torch.cat([self.ids[0, -1:], draft.words])), draft)
            # all but the newest word stays read, as in a search without drafts
            self.decoder.forget(read - (self.length - 1))
        return Generated(self.ids.contiguous(), self.record)

    def _go_on(self, logits: Tensor, draft: Draft) -> None:
        """Take words by ``logits [n + 1, V]`` as long as they are the n drafted ones, and one more."""
        for place, row in enumerate(logits.float().split(1)):
            scores = self.plan.process(self.ids, row)
            self.record.add(StepOutput(row), row, scores)
            word, is_drafted = self._word(scores, draft, place)
            self._text[:, self.length] = word
            self.length += 1
            if self.plan.streamer is not None:
                self.plan.streamer.put(word.cpu())
            self.has_ended = bool(self.plan.ended(self.ids, self.record.scores))
            if self.has_ended or not is_drafted:
                return

    def _word(self, scores: Tensor, draft: Draft, place: int) -> tuple[Tensor, bool]:
        """Return the next word ``[1]``, and whether it is the drafted one."""
        drafted = draft.words[place : place + 1]
        if not self.plan.config.do_sample:
            word = likeliest(scores, self._running)
            return word, bool((word == drafted).any())
        chances, generator = chances_of(scores, self._running), self.plan.generator
        if len(drafted) == 0:
            return drawn(chances, generator), False
        assumed = torch.zeros_like(chances).index_fill(1, drafted, 1.0)
        if draft.chances is not None:
            assumed = draft.chances[place : place + 1]
        luck = torch.rand(1, device=scores.device, generator=generator)
        if bool(luck * assumed[0, drafted] < chances[0, drafted]):
            return drafted, True
        rest = (chances - assumed).clamp(min=0)
        # nothing is left where both are the same but for rounding
        return drawn(rest if bool(rest.any()) else chances, generator), False


def search_assisted(decoder: Decoder, prompts: Tensor, plan: GenerationPlan, drafter: Drafter) -> Generated:
    """Go on with the one text of ``prompts [1, S]``, checking what ``drafter`` drafts.

    Raises:
        BertieError: its scores are NaN, or leave no word to choose.
    """
    return AssistedSearch(decoder, prompts, plan, drafter).run()
