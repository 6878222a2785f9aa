"""Assisted decoding: words are drafted cheaply, and the model reads all of a draft in one step.

Greedily the texts are those of the search without drafts; drawn ones have its distribution (Leviathan et al. 2023,
Algorithm 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bertie.generation.decoder import Decoder, StepOutput
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import TokenSearch, probabilities_of, sample
from bertie.progress import say_once

# what the reference drafts where nothing is said
ASSISTANT_TOKENS, CONFIDENCE_THRESHOLD, NGRAM_SIZE = 20, 0.4, 2


class Draft(NamedTuple):
    """Words ``[n]`` that may come next, and what each was drawn from, ``[1, V]``; none: each was certain."""

    words: Values
    probabilities: Sequence[Values] = ()


class Drafter(Protocol):
    """What drafts words of one text."""

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:
        """Return at most ``count`` words to come after ``ids [1, S]``; none is a draft, too."""


@dataclass(frozen=True)
class PromptLookup:
    """Drafts what followed the text's last words where they first occurred; the longest match counts.

    ``num_tokens``: how many words a draft has at most; ``ngram_size``: how many last words are looked up at most.
    """

    num_tokens: int
    ngram_size: int

    @classmethod
    def of(cls, config: GenerationConfig) -> "PromptLookup | None":
        count = config.prompt_lookup_num_tokens
        return None if count is None else cls(count, config.max_matching_ngram_size or NGRAM_SIZE)

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:  # noqa: ARG002
        text, count = ids[0], min(count, self.num_tokens)
        for size in range(min(self.ngram_size, len(text) - 1), 0, -1):
            fits = (functions_of(ids).ngrams(ids[:, :-1], size)[0] == text[-size:]).all(-1).tolist()
            if True in fits:
                start = fits.index(True) + size
                return Draft(text[start : start + count])
        return Draft(text[:0])


class AssistantDrafter:
    """What a smaller model writes, which has read nothing yet: at most so many words, one below ``threshold`` the last.

    It reads ``prompts [1, S]`` first, and keeps a cache of its own.
    """

    def __init__(self, decoder: Decoder, prompts: Values, num_tokens: int, threshold: float) -> None:
        self.decoder, self.prompts, self.num_tokens, self.threshold = decoder, prompts, num_tokens, threshold
        self._read = 0

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:
        count = min(count, self.num_tokens, self.decoder.limit + 1 - ids.shape[1])
        xp, text, probabilities = functions_of(ids), ids, list[Values]()
        logits = self._catch_up(ids) if count > 0 else None
        while logits is not None:
            scores = plan.process(text, xp.float32(logits[-1:]))
            best, word = xp.best(scores)
            if not bool(xp.isfinite(best)):  # whether a word is left, the model says
                if bool(xp.isnan(best)):
                    say_once("the scores of assistant_model hold NaN, so it drafts nothing; look among its weights")
                break
            probabilities.append(xp.softmax(scores))
            word = sample(probabilities[-1], plan.generator) if plan.config.do_sample else word
            text = xp.concat([text, word[None]])
            is_unsure = float(probabilities[-1][0, word.item()]) < self.threshold
            is_last = len(probabilities) == count or word.item() in plan.ends or is_unsure
            logits = None if is_last else self._next(word)
        return Draft(text[0, ids.shape[1] :], probabilities if plan.config.do_sample else ())

    def _catch_up(self, ids: Values) -> Values:
        """Forget rejected drafts, read what the text has instead, and return the scores after it."""
        if self._read == 0:
            self.decoder.step(self.prompts)
            self._read = self.prompts.shape[1]
        known = min(self._read, ids.shape[1] - 1)
        self.decoder.forget(self._read - known)
        self._read = known
        return self._next(ids[0, known:])

    def _next(self, words: Values) -> Values:
        self._read += len(words)
        return self.decoder.read(words)


class AssistedSearch(TokenSearch):
    """A search under way: the only text so far, and what was drafted at the place of its next word."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan, drafter: Drafter) -> None:
        super().__init__(decoder, prompts, plan)
        self.drafter = drafter
        self.drafted, self.assumed = self.ids[0, :0], None  # the word ``[1]``, if any, and what it was drawn from

    def run(self) -> Generated:
        self.go_on(self.decoder.step(self.ids))
        while bool(self.running.any()):
            draft = self.drafter.draft(self.ids, self.plan.max_length - self.length - 1, self.plan)
            read = self.length + len(draft.words)
            self._accept(self.decoder.read(self.xp.concat([self.ids[:, -1:], draft.words[None]])[0]), draft)
            # all but the newest word stays read, as in a search without drafts
            self.decoder.forget(read - (self.length - 1))
        return Generated(self.xp.copy(self.ids), self.record)

    def _accept(self, logits: Values, draft: Draft) -> None:
        """Accept the n drafted words as far as ``logits [n + 1, V]`` choose them, and take one word more."""
        for place in range(len(logits)):
            self.drafted = draft.words[place : place + 1]
            self.assumed = draft.probabilities[place] if draft.probabilities and len(self.drafted) else None
            goes_on = self.go_on(StepOutput(logits[place : place + 1]))
            if not goes_on or not bool((self.drafted == self.ids[:, -1]).any()):
                return

    def choose(self, scores: Values) -> Values:
        """Return the next word ``[1]``; a sampled one is the draft, or replaces it where that is rejected."""
        if not self.plan.config.do_sample or len(self.drafted) == 0:
            return super().choose(scores)
        word, generator = self.drafted.item(), self.plan.generator
        probabilities = probabilities_of(scores, self.running)
        assumed = self.assumed
        if assumed is None:  # no other word could have been drafted
            assumed = self.xp.full(probabilities, probabilities.shape, 0)
            assumed[0, word] = 1
        kept = min(1.0, float(probabilities[0, word]) / float(assumed[0, word]))
        either = self.xp.full(probabilities, (1, 2), kept)
        either[0, 1] = 1 - kept
        if sample(either, generator).item() == 0:
            return self.drafted
        rest = self.xp.where(probabilities > assumed, probabilities - assumed, 0.0)
        # nothing is left where both are the same but for rounding
        return sample(rest if float(rest.sum()) > 0 else probabilities, generator)
