"""Contrastive search: of the likeliest words the one that is least like all words before it (arXiv 2202.06417).

Letters: B texts, K candidates of each, S tokens so far, D the width of hidden states.
"""

from bertie.generation.decoder import Decoder, StepOutput
from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated, StepRecord
from bertie.generation.generation_plan import GenerationPlan
from bertie.generation.token_search import chances_of


class _Context:
    """The directions of all tokens so far, with room for more; a token whose states are zeros is none."""

    def __init__(self, states: Values, room: int) -> None:
        self._xp, (texts, self.length, width) = functions_of(states), states.shape
        self._vectors = self._xp.full(states, (texts, self.length + room, width), 0.0)
        self._vectors[:, : self.length] = _directions(states)
        self._lacks = (self._vectors == 0).all(axis=-1)

    def likeness(self, states: Values) -> Values:
        """Return the largest cosine of each of ``states [B, K, D]`` with a token of its text, ``[B, K]``."""
        past = self._vectors[:, : self.length]
        cosines = _directions(states) @ past.swapaxes(1, 2)
        cosines = self._xp.where(self._lacks[:, None, : self.length], -1.0, cosines)
        return self._xp.best(cosines.reshape(-1, self.length))[0].reshape(states.shape[:2])

    def append(self, states: Values) -> None:
        """Add a token of each text, ``[B, D]``."""
        self._vectors[:, self.length] = _directions(states)
        self._lacks[:, self.length] = False
        self.length += 1


def _directions(states: Values) -> Values:
    return states / ((states * states).sum(axis=-1, keepdims=True) ** 0.5).clip(min=1e-12)


class ContrastiveSearch:
    """A search under way: the texts, K copies of each, which differ in their last word while it is chosen."""

    def __init__(self, decoder: Decoder, prompts: Values, plan: GenerationPlan) -> None:
        self.decoder, self.plan, self.xp = decoder, plan, functions_of(prompts)
        self.record, self.length = StepRecord(plan.config), prompts.shape[1]
        self.output = decoder.step(prompts, with_states=True)
        self.candidates = min(plan.config.top_k, self.output.logits.shape[1])
        self.context = _Context(self.xp.float32(self.output.states), plan.max_length - self.length)
        decoder.repeat(self.candidates)
        rows = len(prompts) * self.candidates
        self.copies = self.xp.full(prompts, (rows, plan.max_length), 0)
        self.copies[:, : self.length] = self.xp.repeat(prompts, self.candidates)
        self.first_row = self.xp.ids(prompts, range(0, rows, self.candidates))
        self.running = prompts[:, 0] >= 0  # all of them

    @property
    def ids(self) -> Values:
        """``[B, S]``."""
        return self.copies[:: self.candidates, : self.length]

    def run(self) -> Generated:
        """Search until all texts have ended."""
        while True:
            logits = self.xp.float32(self.output.logits)
            scores = self.plan.process(self.ids, logits)
            self.record.add(self.output, logits, scores)
            words = self._words(chances_of(scores, self.running))
            if self.plan.streamer is not None:
                self.plan.streamer.put(self.xp.shown(words))
            self.running = self.running & ~self.plan.ended(self.ids, self.record.scores)
            if not bool(self.running.any()):
                return Generated(self.xp.copy(self.ids), self.record)

    def _words(self, chances: Values) -> Values:
        """Choose the next words ``[B]`` by ``chances [B, V]``, and go on with them."""
        chances, words = self.xp.topk(chances, self.candidates)
        tried = self._try(words.reshape(-1))
        states = self.xp.float32(tried.states)[:, -1]
        alpha = self.plan.config.penalty_alpha
        likeness = self.context.likeness(states.reshape(*words.shape, -1))
        chosen = self.xp.best((1 - alpha) * chances - alpha * likeness)[1]
        rows = self.first_row + chosen
        self.decoder.reorder(self.xp.repeat(rows, self.candidates))
        self.output = tried.of(rows)
        self.context.append(states[rows])
        words = self.xp.take(words, chosen[:, None])[:, 0]
        words = self.xp.where(self.running, words, self.plan.pad) if self.plan.ends else words
        self.copies[:, self.length - 1] = self.xp.repeat(words, self.candidates)
        return words

    def _try(self, words: Values) -> StepOutput:
        """Read a word ``[B * K]`` after each copy."""
        self.copies[:, self.length] = words
        self.length += 1
        running = self.xp.repeat(self.running, self.candidates) if self.plan.ends else None
        return self.decoder.step(self.copies[:, : self.length], running, with_states=True)


def search_contrastive(decoder: Decoder, prompts: Values, plan: GenerationPlan) -> Generated:
    """Go on with the texts of ``prompts [B, S]``, choosing each word among the ``top_k`` likeliest.

    Raises:
        BertieError: a text's scores are NaN, or leave no word to choose.
    """
    return ContrastiveSearch(decoder, prompts, plan).run()
