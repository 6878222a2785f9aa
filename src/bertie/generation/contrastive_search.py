"""Contrastive search: of the likeliest words the one that is least like all words before it (arXiv 2202.06417).

Letters: B texts, K candidates of each, S tokens so far, D the width of hidden states.
"""

from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated
from bertie.generation.token_search import TokenSearch, probabilities_of


class _Context:
    """The directions of all tokens so far, with room for more; a token whose states are zeros is none."""

    def __init__(self, states: Values, room: int) -> None:
        self._xp, (texts, self.length, width) = functions_of(states), states.shape
        self._vectors = self._xp.full(states, (texts, self.length + room, width), 0.0)
        self._vectors[:, : self.length] = _directions(states)
        self._lacks = (self._vectors == 0).all(axis=-1)

    def similarity(self, states: Values) -> Values:
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


class ContrastiveSearch(TokenSearch):
    """A search under way; the decoder has K copies of each text, which differ in their last word while it is chosen."""

    def run(self) -> Generated:
        self.output = self.decoder.step(self.ids, with_states=True)
        self.candidates = min(self.plan.config.top_k, self.output.logits.shape[1])
        self.context = _Context(self.xp.float32(self.output.states), self.plan.max_length - self.length)
        self.decoder.repeat(self.candidates)
        self.first_row = self.xp.ids(self.ids, range(0, len(self.texts) * self.candidates, self.candidates))
        while self.go_on(self.output):
            pass
        return Generated(self.xp.copy(self.ids), self.record)

    def choose(self, scores: Values) -> Values:
        """Return the next words ``[B]``, after each of which the decoder has answered already."""
        probabilities, words = self.xp.topk(probabilities_of(scores, self.running), self.candidates)
        ids = self.xp.concat([self.xp.repeat(self.ids, self.candidates), words.reshape(-1, 1)])
        running = self.xp.repeat(self.running, self.candidates) if self.plan.ends else None
        tried = self.decoder.step(ids, running, with_states=True)
        states = self.xp.float32(tried.states)[:, -1]
        alpha = self.plan.config.penalty_alpha
        similarity = self.context.similarity(states.reshape(*words.shape, -1))
        chosen = self.xp.best((1 - alpha) * probabilities - alpha * similarity)[1]
        rows = self.first_row + chosen
        self.decoder.reorder(self.xp.repeat(rows, self.candidates))
        self.output = tried.of(rows)
        self.context.append(states[rows])
        return self.xp.take(words, chosen[:, None])[:, 0]
