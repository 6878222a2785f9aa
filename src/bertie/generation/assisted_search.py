"""Assisted decoding: words are drafted cheaply, and the model reads all of a draft in one step.

Greedily the texts are those of the search without drafts; drawn ones have its distribution (Leviathan et al. 2023,
Algorithm 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bertie.generation.decoder import Decoder, StepOutput
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_config import GenerationConfig
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import chances_of, drawn, likeliest
from bertie.progress import say_once

# what the reference drafts where nothing is said
ASSISTANT_TOKENS, CONFIDENCE_THRESHOLD, NGRAM_SIZE = 20, 0.4, 2


class Draft(NamedTuple):
    """Words ``[n]`` that may come next, and what each was drawn from, ``[1, V]``; none: each was certain."""

    words: Values
    chances: Sequence[Values] = ()


class Drafter(Protocol):
    """What drafts words of one text."""

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:
        """Return at most ``count`` words to come after ``ids [1, S]``; none is a draft, too."""


@dataclass(frozen=True)
class PromptLookup:
    """What came after the text's last words where they stood before: of the most words, the first place.

    ``num_tokens``: how many words a draft has at most; ``ngram_size``: how many last words are looked up at most.
    """

    num_tokens: int
    ngram_size: int

    @classmethod
    def of(cls, config: GenerationConfig) -> "PromptLookup | None":
        """Return what a config asks for, if it does."""
        count = config.prompt_lookup_num_tokens
        return None if count is None else cls(count, config.max_matching_ngram_size or NGRAM_SIZE)

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:  # noqa: ARG002
        """See `Drafter.draft`."""
        text, count = ids[0], min(count, self.num_tokens)
        for size in range(min(self.ngram_size, len(text) - 1), 0, -1):
            fits = (functions_of(ids).ngrams(ids[:, :-1], size)[0] == text[-size:]).all(-1).tolist()
            if True in fits:
                start = fits.index(True) + size
                return Draft(text[start : start + count])
        return Draft(text[:0])


class AssistantDrafter:
    """What a smaller model writes, until it is unsure; it keeps a cache of its own.

    Args:
        decoder: the model, which has read nothing.
        prompts: ``[1, S]``, what it reads first.
        num_tokens: how many words a draft has at most.
        threshold: a word less likely than this is a draft's last.
    """

    def __init__(self, decoder: Decoder, prompts: Values, num_tokens: int, threshold: float) -> None:
        self.decoder, self.prompts, self.num_tokens, self.threshold = decoder, prompts, num_tokens, threshold
        self._read = 0

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:
        """See `Drafter.draft`."""
        count = min(count, self.num_tokens, self.decoder.limit + 1 - ids.shape[1])
        xp, text, chances = functions_of(ids), ids, list[Values]()
        logits = self._catch_up(ids) if count > 0 else None
        while logits is not None:
            scores = plan.process(text, xp.float32(logits[-1:]))
            best, word = xp.best(scores)
            if not bool(xp.is_finite(best)):  # whether a word is left, the model says
                if bool(xp.is_nan(best)):
                    say_once("the scores of assistant_model hold NaN, so it drafts nothing; look among its weights")
                break
            chances.append(xp.softmax(scores))
            word = drawn(chances[-1], plan.generator) if plan.config.do_sample else word
            text = xp.concat([text, word[None]])
            is_unsure = float(chances[-1][0, int(word)]) < self.threshold
            is_last = len(chances) == count or int(word) in plan.ends or is_unsure
            logits = None if is_last else self._next(word)
        return Draft(text[0, ids.shape[1] :], chances if plan.config.do_sample else ())

    def _catch_up(self, ids: Values) -> Values:
        """Forget what was drafted in vain, read what the text has instead, and return the scores after it."""
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


class AssistedSearch:
    """A search under way: the text so far, and whether it has ended."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan, drafter: Drafter) -> None:
        self.decoder, self.plan, self.drafter = decoder, plan, drafter
        self.record = StepRecord(plan.config)
        self.length, self.has_ended = prompts.shape[1], False
        self._xp = functions_of(prompts)
        self._text = self._xp.full(prompts, (1, plan.max_length), 0)
        self._text[:, : self.length] = prompts
        self._running = self._text[:, 0] >= 0  # the only one

    @property
    def ids(self) -> Values:
        """``[1, S]``."""
        return self._text[:, : self.length]

    def run(self) -> Generated:
        """Search until the text ends."""
        self._go_on(self.decoder.step(self.ids).logits, Draft(self.ids[0, :0]))
        while not self.has_ended:
            draft = self.drafter.draft(self.ids, self.plan.max_length - self.length - 1, self.plan)
            read = self.length + len(draft.words)
            self._go_on(self.decoder.read(self._xp.concat([self.ids[:, -1:], draft.words[None]])[0]), draft)
            # all but the newest word stays read, as in a search without drafts
            self.decoder.forget(read - (self.length - 1))
        return Generated(self._xp.copy(self.ids), self.record)

    def _go_on(self, logits: Values, draft: Draft) -> None:
        """Take words by ``logits [n + 1, V]`` as long as they are the n drafted ones, and one more."""
        for place in range(len(logits)):
            row = self._xp.float32(logits[place : place + 1])
            scores = self.plan.process(self.ids, row)
            self.record.add(StepOutput(row), row, scores)
            word, is_drafted = self._word(scores, draft, place)
            self._text[:, self.length] = word
            self.length += 1
            if self.plan.streamer is not None:
                self.plan.streamer.put(self._xp.shown(word))
            self.has_ended = bool(self.plan.ended(self.ids, self.record.scores))
            if self.has_ended or not is_drafted:
                return

    def _word(self, scores: Values, draft: Draft, place: int) -> tuple[Values, bool]:
        """Return the next word ``[1]``, and whether it is the drafted one."""
        drafted = draft.words[place : place + 1]
        if not self.plan.config.do_sample:
            word = likeliest(scores, self._running)
            return word, bool((word == drafted).any())
        chances = chances_of(scores, self._running)
        if len(drafted) == 0:
            return drawn(chances, self.plan.generator), False
        assumed = draft.chances[place] if draft.chances else self._certain(chances, int(drafted))
        return self._checked(chances, assumed, drafted)

    def _checked(self, chances: Values, assumed: Values, drafted: Values) -> tuple[Values, bool]:
        """Keep a word that was drawn from ``assumed [1, V]`` as often as it is due, or draw another in its place."""
        word, generator = int(drafted), self.plan.generator
        kept = min(1.0, float(chances[0, word]) / float(assumed[0, word]))
        either = self._xp.full(chances, (1, 2), kept)
        either[0, 1] = 1 - kept
        if int(drawn(either, generator)) == 0:
            return drafted, True
        rest = self._xp.where(chances > assumed, chances - assumed, 0.0)
        # nothing is left where both are the same but for rounding
        return drawn(rest if float(rest.sum()) > 0 else chances, generator), False

    def _certain(self, chances: Values, word: int) -> Values:
        """Return the probabilities of a word that no other could have been."""
        certain = self._xp.full(chances, chances.shape, 0)
        certain[0, word] = 1
        return certain


def search_assisted(decoder: Decoder, prompts: Values, plan: GenerationPlan, drafter: Drafter) -> Generated:
    """Go on with the one text of ``prompts [1, S]``, checking what ``drafter`` drafts.

    Raises:
        BertieError: its scores are NaN, or leave no word to choose.
    """
    return AssistedSearch(decoder, prompts, plan, drafter).run()
