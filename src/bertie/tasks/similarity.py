"""Similarity: what embeddings learn from, pairs of texts with a score, or texts that belong together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics import Metric, RegressionMetric, RetrievalMetric
from bertie.progress import logger, say_once
from bertie.tasks.arrays import Array
from bertie.tasks.embed import Embed
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.operations import ON_ARRAYS, Loss, operations_on
from bertie.tasks.pooling import merged
from bertie.tasks.sentence_transformers_config import Layer
from bertie.tasks.sentence_transformers_writing import write_recipe
from bertie.tasks.task import Task, TrainableTask, WrongAnswer
from bertie.tasks.text_encoder import check_count, wrong_type
from bertie.tasks.vector_layers import Normalize, width_after

# A cosine that far from its score is worth showing.
OFF = 0.25
# Cosines held at once while ranks are counted.
HELD = 2**24


@dataclass(frozen=True, kw_only=True)
class Similarity(Embed, TrainableTask):
    """What learns for `bertie.tasks.embed.Embed`. An input is a pair of texts, or (anchor, positive, negative).

    Pairs with scores: the cosine of the two vectors is drawn to the score, scaled to 0 to 1 (squared error). Without
    scores the two belong together: each has to recognise its partner among those of all pairs of the step, by the
    softmax of ``scale`` times the cosine (InfoNCE; van den Oord et al. 2018), in both directions. Negatives are more
    candidates for the anchors, which alone look for their partners then. Where texts occur several times in a step, no
    anchor takes its own text, or a partner of the same anchor elsewhere, for a stranger.

    With ``matryoshka_dims`` the loss is the sum of that of the vectors cut to each of these widths (Kusupati et al.
    2022, equation 1), so that cut vectors (`truncate_dim`) are good ones.
    """

    scored: bool = False  # whether inputs come with scores
    lowest: float = 0.0  # the score that stands for a cosine of 0
    highest: float = 1.0  # and of 1
    scale: float = 20.0  # what cosines are multiplied by before the softmax
    matryoshka_dims: Sequence[int] = ()  # so many first numbers of the vectors learn by themselves, too; () all alone
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"with scores": RegressionMetric, "": RetrievalMetric}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lowest < self.highest:
            raise InputError(f"lowest is {self.lowest:g} and highest {self.highest:g}; scores need a range.")
        if not self.scale > 0:
            raise InputError(f"scale is {self.scale:g}; it must be above 0.")
        for dim in self.matryoshka_dims:
            check_count("matryoshka_dims", dim, self.dimension)
        if self.matryoshka_dims and self.dimension not in self.matryoshka_dims:
            say_once(
                f"matryoshka_dims leaves out {self.dimension}, the width of whole vectors, which do not learn then."
            )

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        return cls(**_of(task, Embed))

    def inference_task(self) -> Embed:
        return Embed(**_of(self, Embed))

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        # vectors that no file says how to make have length 1, as they are compared
        task = super().on_train_start(model, labels)
        if self.recipe.is_stated:
            return task
        return replace(task, recipe=replace(self.recipe, layers=(Layer("Normalize"),)), layers=(Normalize(),))

    def prepare_labels(self, labels: Sequence[Any]) -> Self:
        numbers = [float(label) for label in labels if label is not None]
        if not numbers:
            return replace(self, scored=False)
        if len(numbers) < len(labels):
            raise InputError(f"{len(labels) - len(numbers)} of {len(labels)} pairs have no score; give all or none.")
        low, high = min(numbers), max(numbers)
        if (low >= 0 and high <= 1) or low == high:
            low, high = 0.0, 1.0
        else:
            logger.info("Scores from %g to %g are learned as cosines from 0 to 1.", low, high)
        return replace(self, scored=True, lowest=low, highest=high)

    def save(self, folder: Path) -> None:
        cut = self.truncate_dim or self.recipe.truncate_dim
        recipe = replace(self.recipe, max_length=self.limit, similarity="cosine", truncate_dim=cut)
        write_recipe(folder, recipe, width_after(self.token_layers, self.config.hidden_size))

    # texts → vectors

    def features_of(self, texts: Sequence[Any]) -> Features:
        return super().features_of([text for each in texts for text in each]).in_parts(list(map(len, texts)))

    def read(self, given: object, number: int = 0) -> list[str]:
        if (
            not isinstance(given, list | tuple)
            or len(given) not in (2, 3)
            or not all(isinstance(text, str) for text in given)
        ):
            raise wrong_type(number, given, "a pair of texts, or (anchor, positive, negative)")
        return [super(Similarity, self).read(text) for text in given]

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        """Return the vectors ``[2 or 3, D]`` of each input's texts, of length 1."""
        vectors = super().combine(rows, features.by_part())
        if not len(vectors):
            return []
        return np.split(ON_ARRAYS.normalize(np.stack(vectors)), np.cumsum(features.part_counts)[:-1])

    # labels → loss

    @property
    def divisible(self) -> bool:
        return self.scored

    def references(self, labels: Sequence[Any]) -> Values:
        """Return the scores from 0 to 1, float32 ``[N]``; zeros where there are none."""
        if not self.scored:
            return np.zeros(len(labels), np.float32)
        return (np.asarray(labels, np.float32) - np.float32(self.lowest)) / np.float32(self.highest - self.lowest)

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        if not self.scored:
            return features
        if any(label is None for label in labels):
            raise InputError(f"The pair {list(labels).index(None)} has no score, and others do; give all or none.")
        if (features.part_counts != 2).any():
            raise InputError("A score belongs to a pair of texts; leave scores out where there is a negative, too.")
        return features.with_labels(np.asarray(self.references(labels)))

    def loss(self, output: Any, features: Features) -> Loss:
        vectors = output
        if self.windows:
            vectors = self.finished(merged(output, features.by_part(), self.recipe.modes))
        widths = self.matryoshka_dims or (self.dimension,)
        return sum((self._loss_of(vectors[:, :width], features) for width in widths), vectors.new_zeros(()))

    def _loss_of(self, vectors: Any, features: Features) -> Loss:
        from bertie.tasks.summed_losses import contrast_sum, squared_error_sum

        do = operations_on(vectors)
        vectors = do.normalize(vectors.float())
        counts = features.part_counts
        firsts = np.cumsum(counts) - counts
        places = (firsts, firsts + 1, firsts[counts > 2] + 2)
        anchors, positives, negatives = (do.take(vectors, place) for place in places)
        if features.labels:
            return squared_error_sum((anchors * positives).sum(dim=1), features.wanted)
        keys = np.array(features.part_keys())
        return contrast_sum(anchors, positives, negatives, self.scale, tuple(keys[place] for place in places))

    # scoring

    def metric(self) -> Metric:
        return RegressionMetric() if self.scored else RetrievalMetric()

    def predictions(self, outputs: Outputs) -> Array:
        """Return the cosine of each pair, or the rank of each anchor's partner among all texts here, ``[N]``."""
        if self.scored:
            return np.array([float(pair[0] @ pair[1]) for pair in outputs.values])
        return ranks_of_partners(outputs.values, outputs.features.part_keys())

    def signature(self, prediction: Any) -> Any:
        # a partner that is always found first is no sign of texts that are all alike
        return None if prediction == 1 and not self.scored else prediction

    def named(self, prediction: Any) -> str:
        return f"{prediction:.3g}" if self.scored else f"rank {prediction:.0f}"

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found = self.predictions(outputs)
        if not self.scored:
            return [None if rank == 1 else WrongAnswer(float(rank), "rank 1", f"rank {rank:.0f}") for rank in found]
        both = zip(np.asarray(self.references(outputs.labels)).tolist(), found.tolist(), strict=True)
        return [
            WrongAnswer(abs(gold - cosine), f"{gold:.2f}", f"{cosine:.2f}") if abs(gold - cosine) >= OFF else None
            for gold, cosine in both
        ]


def _of(task: Task, kind: type[Task]) -> dict[str, Any]:
    return {field.name: getattr(task, field.name) for field in fields(kind)}


def ranks_of_partners(inputs: Sequence[Any] | NDArray[Any], keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the rank from 1 of each input's second vector among all that its first is compared with, int64 ``[N]``.

    These are the second and third vectors of all inputs, each text once. Others that are equally near stand before the
    partner, so that a model that gives every text the same vector has found none. Other partners of an anchor of the
    same text, and that text itself, do not count: they are no worse an answer. Inputs are N arrays ``[2 or 3, D]`` of
    vectors of length 1; ``keys`` tell their texts apart, one a vector.
    """
    if not len(inputs):
        return np.zeros(0, np.int64)
    known = iter(keys)
    texts = [[next(known) for _ in vectors] for vectors in inputs]
    candidates: dict[Hashable, NDArray[Any]] = {}
    for each, vectors in zip(texts, inputs, strict=True):
        for key, vector in zip(each[1:], vectors[1:], strict=True):
            candidates.setdefault(key, vector)
    numbers = {key: number for number, key in enumerate(candidates)}
    right = partners_of([each[0] for each in texts], [each[1] for each in texts])
    table, ranks = np.stack(list(candidates.values())).T, []
    step = max(1, HELD // len(candidates))
    for first in range(0, len(inputs), step):
        cosines = np.stack([vectors[0] for vectors in inputs[first : first + step]]) @ table
        for row, (anchor, partner, *_) in zip(cosines, texts[first : first + step], strict=True):
            nearer = row >= row[numbers[partner]]
            nearer[[numbers[text] for text in right[anchor] - {partner} if text in numbers]] = False
            ranks.append(nearer.sum())
    return np.array(ranks, np.int64)


def partners_of(anchors: Sequence[Hashable], positives: Sequence[Hashable]) -> dict[Hashable, set[Hashable]]:
    """Return what is right for each anchor's text: the text itself, and the positives of all anchors of that text."""
    right: dict[Hashable, set[Hashable]] = {text: {text} for text in anchors}
    for text, partner in zip(anchors, positives, strict=True):
        right[text].add(partner)
    return right
