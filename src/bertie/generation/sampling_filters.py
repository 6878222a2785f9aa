"""Temperature and the filters of sampling (top-k, top-p, …), as logits processors."""

import math
from dataclasses import dataclass

from bertie.generation.functions import Values, functions_of


@dataclass(frozen=True)
class Temperature:
    """Divide scores by a number; above 1, probabilities become more even."""

    temperature: float

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        return scores / self.temperature


@dataclass(frozen=True)
class Filter:
    """Keep some of the tokens, and always the ``least`` most probable."""

    threshold: float
    least: int = 1

    def __call__(self, ids: Values, scores: Values) -> Values:
        raise NotImplementedError

    def _without(self, scores: Values, unwanted: Values) -> Values:
        xp = functions_of(scores)
        kept = xp.topk(scores, min(self.least, scores.shape[-1]))[0][..., -1:]
        return xp.where(unwanted & (scores < kept), -math.inf, scores)


class TopK(Filter):
    """The ``threshold`` most probable tokens (arXiv 1805.04833)."""

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        xp, count = functions_of(scores), min(max(int(self.threshold), self.least), scores.shape[-1])
        return xp.where(scores < xp.topk(scores, count)[0][..., -1:], -math.inf, scores)


class TopP(Filter):
    """The nucleus: the fewest tokens whose probabilities add up to ``threshold`` (arXiv 1904.09751)."""

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        xp = functions_of(scores)
        ascending, order = xp.sort(scores)
        unwanted = xp.softmax(ascending).cumsum(axis=-1) <= 1 - self.threshold
        unwanted[..., -self.least :] = False
        return xp.where(xp.put(unwanted, order, unwanted), -math.inf, scores)


class MinP(Filter):
    """Tokens at least ``threshold`` times as probable as the most probable one (arXiv 2407.01082)."""

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        xp = functions_of(scores)
        probabilities = xp.softmax(scores)
        unwanted = probabilities < self.threshold * xp.max(probabilities)[0][:, None]
        kept = xp.topk(probabilities, min(self.least, probabilities.shape[-1]))[1]
        return xp.where(xp.put(unwanted, kept, False), -math.inf, scores)


class Typical(Filter):
    """The tokens with information closest to the entropy, of total probability ``threshold`` (arXiv 2202.00666)."""

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        xp = functions_of(scores)
        logs = xp.log_softmax(scores)
        distances, order = xp.sort(abs(-logs - xp.entropy(logs)))
        cumulative = xp.softmax(xp.take(scores, order)).cumsum(axis=-1)
        last = (cumulative < self.threshold).sum(axis=1, keepdims=True).clip(max=scores.shape[-1] - 1)
        unwanted = distances > xp.take(distances, last)
        unwanted[..., : self.least] = False
        return xp.where(xp.put(unwanted, order, unwanted), -math.inf, scores)


class Epsilon(Filter):
    """Tokens of at least the probability ``threshold`` (arXiv 2210.15191, section 4.1)."""

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        return self._without(scores, functions_of(scores).softmax(scores) < self.threshold)


class Eta(Filter):
    """As `Epsilon`, with a threshold that decreases with the entropy (arXiv 2210.15191, section 4.2)."""

    def __call__(self, ids: Values, scores: Values) -> Values:  # noqa: ARG002
        xp = functions_of(scores)
        entropy = xp.entropy(xp.log_softmax(scores))
        threshold = (xp.exp(-entropy) * self.threshold**0.5).clip(max=self.threshold)
        return self._without(scores, xp.softmax(scores) < threshold)
