"""Assisted (speculative) decoding: tokens are drafted cheaply, and the model verifies a whole draft in one step.

Greedy texts equal those of the search without drafts; sampled ones have the same distribution (Leviathan et al. 2023,
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

# the reference's defaults
ASSISTANT_TOKENS, CONFIDENCE_THRESHOLD, NGRAM_SIZE = 20, 0.4, 2


class Draft(NamedTuple):
    """Drafted tokens ``[n]``, and the distribution ``[1, V]`` each was sampled from; empty if none was sampled."""

    tokens: Values
    probabilities: Sequence[Values] = ()


class Drafter(Protocol):
    """Drafts the next tokens of one text."""

    def draft(self, ids: Values, count: int, plan: GenerationPlan) -> Draft:
        """Return at most ``count`` tokens to follow ``ids [1, S]``, possibly none."""


@dataclass(frozen=True)
class PromptLookup:
    """Drafts the tokens that followed the first occurrence of the text's last n-gram, the longest that occurs earlier.

    ``num_tokens``: maximum length of a draft; ``ngram_size``: maximum length of the n-gram.
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
            matches = (functions_of(ids).ngrams(ids[:, :-1], size)[0] == text[-size:]).all(-1).tolist()
            if True in matches:
                start = matches.index(True) + size
                return Draft(text[start : start + count])
        return Draft(text[:0])


class AssistantDrafter:
    """Drafts with a smaller model: at most ``num_tokens`` tokens, ending at one less probable than ``threshold``.

    ``decoder`` must not have read anything yet: the drafter first reads ``prompts [1, S]`` and keeps its own cache.
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
            best, token = xp.max(scores)
            if not bool(xp.isfinite(best)):  # if no token is left, the main model raises the error
                if bool(xp.isnan(best)):
                    say_once("the scores of assistant_model hold NaN, so it drafts nothing; check its weights")
                break
            probabilities.append(xp.softmax(scores))
            token = sample(probabilities[-1], plan.generator) if plan.config.do_sample else token
            text = xp.concat([text, token[None]])
            is_unsure = float(probabilities[-1][0, token.item()]) < self.threshold
            is_last = len(probabilities) == count or token.item() in plan.ends or is_unsure
            logits = None if is_last else self._next(token)
        return Draft(text[0, ids.shape[1] :], probabilities if plan.config.do_sample else ())

    def _catch_up(self, ids: Values) -> Values:
        """Forget rejected tokens, read those accepted instead, and return the scores of the next token."""
        if self._read == 0:
            self.decoder.step(self.prompts)
            self._read = self.prompts.shape[1]
        known = min(self._read, ids.shape[1] - 1)
        self.decoder.forget(self._read - known)
        self._read = known
        return self._next(ids[0, known:])

    def _next(self, tokens: Values) -> Values:
        self._read += len(tokens)
        return self.decoder.read(tokens)


class AssistedSearch(TokenSearch):
    """The state of a search: one text, and the draft of its next token."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan, drafter: Drafter) -> None:
        super().__init__(decoder, prompts, plan)
        self.drafter = drafter
        # the drafted token ``[1]``, if any, and the distribution ``[1, V]`` it was sampled from
        self.drafted, self.draft_probabilities = self.ids[0, :0], None

    def run(self) -> Generated:
        self.advance(self.decoder.step(self.ids))
        while bool(self.running.any()):
            draft = self.drafter.draft(self.ids, self.plan.max_length - self.length - 1, self.plan)
            read = self.length + len(draft.tokens)
            self._accept(self.decoder.read(self.xp.concat([self.ids[:, -1:], draft.tokens[None]])[0]), draft)
            # the newest token stays unread, as in a search without drafts
            self.decoder.forget(read - (self.length - 1))
        return Generated(self.xp.copy(self.ids), self.record)

    def _accept(self, logits: Values, draft: Draft) -> None:
        """Accept drafted tokens while ``logits [n + 1, V]`` choose them, and add one token more."""
        for index in range(len(logits)):
            self.drafted = draft.tokens[index : index + 1]
            self.draft_probabilities = draft.probabilities[index] if draft.probabilities and len(self.drafted) else None
            continues = self.advance(StepOutput(logits[index : index + 1]))
            if not continues or not bool((self.drafted == self.ids[:, -1]).any()):
                return

    def choose(self, scores: Values) -> Values:
        """Return the next token ``[1]``; when sampling, the drafted one or, if it is rejected, a replacement."""
        if not self.plan.config.do_sample or len(self.drafted) == 0:
            return super().choose(scores)
        token, generator = self.drafted.item(), self.plan.generator
        probabilities = probabilities_of(scores, self.running)
        draft_probabilities = self.draft_probabilities
        if draft_probabilities is None:  # the draft was not sampled
            draft_probabilities = self.xp.full(probabilities, probabilities.shape, 0)
            draft_probabilities[0, token] = 1
        acceptance = min(1.0, float(probabilities[0, token]) / float(draft_probabilities[0, token]))
        either = self.xp.full(probabilities, (1, 2), acceptance)
        either[0, 1] = 1 - acceptance
        if sample(either, generator).item() == 0:
            return self.drafted
        residual = self.xp.where(probabilities > draft_probabilities, probabilities - draft_probabilities, 0.0)
        # the residual is empty if both distributions differ only by rounding
        return sample(residual if float(residual.sum()) > 0 else probabilities, generator)
