"""Contrastive search: of the most probable tokens, choose the least similar to all earlier ones (arXiv 2202.06417).

Letters: B texts, K candidates of each, S tokens so far, D the width of hidden states.
"""

from bertie.generation.functions import Values, functions_of
from bertie.generation.generated import Generated
from bertie.generation.token_search import TokenSearch, probabilities_of


class _Context:
    """The normalised hidden states of all tokens so far, with room for more; zero states stand for padding."""

    def __init__(self, states: Values, room: int) -> None:
        self._xp, (texts, self.length, width) = functions_of(states), states.shape
        self._vectors = self._xp.full(states, (texts, self.length + room, width), 0.0)
        self._vectors[:, : self.length] = _normalized(states)
        self._is_padding = (self._vectors == 0).all(axis=-1)

    def similarity(self, states: Values) -> Values:
        """Return the largest cosine ``[B, K]`` between each of ``states [B, K, D]`` and the tokens of its text."""
        past = self._vectors[:, : self.length]
        cosines = _normalized(states) @ past.swapaxes(1, 2)
        cosines = self._xp.where(self._is_padding[:, None, : self.length], -1.0, cosines)
        return self._xp.max(cosines.reshape(-1, self.length))[0].reshape(states.shape[:2])

    def append(self, states: Values) -> None:
        """Append the states ``[B, D]`` of a new token of each text."""
        self._vectors[:, self.length] = _normalized(states)
        self._is_padding[:, self.length] = False
        self.length += 1


def _normalized(states: Values) -> Values:
    return states / ((states * states).sum(axis=-1, keepdims=True) ** 0.5).clip(min=1e-12)


class ContrastiveSearch(TokenSearch):
    """The state of a search; the decoder holds K copies of each text, which differ only in the candidate token."""

    def run(self) -> Generated:
        self.output = self.decoder.step(self.ids, with_states=True)
        self.candidates = min(self.plan.config.top_k, self.output.logits.shape[1])
        self.context = _Context(self.xp.float32(self.output.states), self.plan.max_length - self.length)
        self.decoder.repeat(self.candidates)
        self.first_row = self.xp.ids(self.ids, range(0, len(self.texts) * self.candidates, self.candidates))
        while self.advance(self.output):
            pass
        return Generated(self.xp.copy(self.ids), self.record)

    def choose(self, scores: Values) -> Values:
        """Return the next tokens ``[B]``, which the decoder has already read to compute their hidden states."""
        probabilities, tokens = self.xp.topk(probabilities_of(scores, self.running), self.candidates)
        ids = self.xp.concat([self.xp.repeat(self.ids, self.candidates), tokens.reshape(-1, 1)])
        running = self.xp.repeat(self.running, self.candidates) if self.plan.ends else None
        output = self.decoder.step(ids, running, with_states=True)
        states = self.xp.float32(output.states)[:, -1]
        alpha = self.plan.config.penalty_alpha
        similarity = self.context.similarity(states.reshape(*tokens.shape, -1))
        chosen = self.xp.max((1 - alpha) * probabilities - alpha * similarity)[1]
        rows = self.first_row + chosen
        self.decoder.reorder(self.xp.repeat(rows, self.candidates))
        self.output = output.of(rows)
        self.context.append(states[rows])
        return self.xp.take(tokens, chosen[:, None])[:, 0]
