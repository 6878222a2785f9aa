"""What is left to draw among: temperature, and the words that are likely or typical enough, as logits processors."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Temperature:
    """Scores divided by a number: above 1 the words become more equal."""

    temperature: float

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        return scores / self.temperature


@dataclass(frozen=True)
class _Filter:
    """Keep some of the words, and always the ``least`` likeliest."""

    threshold: float
    least: int = 1

    def _without(self, scores: Tensor, unwanted: Tensor) -> Tensor:
        kept = scores.topk(min(self.least, scores.shape[-1]))[0][..., -1:]
        return scores.masked_fill(unwanted & (scores < kept), -math.inf)


class TopK(_Filter):
    """The ``threshold`` likeliest words (arXiv 1805.04833)."""

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        count = min(max(int(self.threshold), self.least), scores.shape[-1])
        return scores.masked_fill(scores < scores.topk(count)[0][..., -1:], -math.inf)


class TopP(_Filter):
    """The fewest words whose probabilities come to ``threshold``: the nucleus (arXiv 1904.09751)."""

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        ascending, order = scores.sort(dim=-1)
        unwanted = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.threshold
        unwanted[..., -self.least :] = False
        return scores.masked_fill(unwanted.scatter(1, order, unwanted), -math.inf)


class MinP(_Filter):
    """Words at least ``threshold`` times as likely as the likeliest (arXiv 2407.01082)."""

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        chances = scores.softmax(dim=-1)
        unwanted = chances < self.threshold * chances.amax(dim=-1, keepdim=True)
        kept = chances.topk(min(self.least, chances.shape[-1]))[1]
        return scores.masked_fill(unwanted.scatter(-1, kept, False), -math.inf)


class Typical(_Filter):
    """The words whose information is nearest to the entropy, ``threshold`` of the probability (arXiv 2202.00666)."""

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        logs = scores.log_softmax(dim=-1)
        entropy = -(logs * logs.exp()).nansum(-1, keepdim=True)
        distances, order = (-logs - entropy).abs().sort(dim=-1)
        together = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
        last = (together < self.threshold).sum(dim=1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        unwanted = distances > distances.gather(1, last)
        unwanted[..., : self.least] = False
        return scores.masked_fill(unwanted.scatter(1, order, unwanted), -math.inf)


class Epsilon(_Filter):
    """Words of at least the probability ``threshold`` (arXiv 2210.15191, section 4.1)."""

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        return self._without(scores, scores.softmax(dim=-1) < self.threshold)


class Eta(_Filter):
    """The same, with a threshold that falls with the entropy (arXiv 2210.15191, section 4.2)."""

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        chances = scores.softmax(dim=-1)
        entropy = torch.distributions.Categorical(logits=scores).entropy()
        lowest = torch.exp(-entropy).mul(self.threshold**0.5).clamp(max=self.threshold)
        return self._without(scores, chances < lowest[:, None])
