"""Similarity: training embeddings on pairs of texts with a score, or on texts that belong together."""

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
from bertie.tasks.pooling import pool_windows
from bertie.tasks.sentence_transformers_config import Layer
from bertie.tasks.sentence_transformers_writing import write_recipe
from bertie.tasks.task import Task, TrainableTask, WrongAnswer
from bertie.tasks.text_encoder import check_count, wrong_type
from bertie.tasks.vector_layers import Normalize, width_after

# How far a cosine must be from its score to count as an error.
ERROR_MARGIN = 0.25
# The most cosines held in memory at once while ranks are counted.
MAX_COSINES = 2**24


@dataclass(frozen=True, kw_only=True)
class Similarity(Embed, TrainableTask):
    """The training task of `bertie.tasks.embed.Embed`. An input is a pair of texts, or (anchor, positive, negative).

    With scores, the cosine of a pair is fitted to its score, scaled to 0 to 1 (squared error). Without scores, the two
    texts belong together: each must recognize its partner among all pairs of the step by the softmax of ``scale`` times
    the cosine (InfoNCE; van den Oord et al. 2018), in both directions. Negatives are additional candidates for the
    anchors, and then only anchors look for their partners. If texts recur in a step, an anchor's own text and the
    partners of equal anchors are not treated as negatives.

    With ``matryoshka_dims`` the loss is summed over the vectors truncated to each of these dimensions (Kusupati et al.
    2022, equation 1), so that truncated vectors (`truncate_dim`) work well.
    """

    scored: bool = False  # whether inputs have scores
    lowest: float = 0.0  # the score that corresponds to a cosine of 0
    highest: float = 1.0  # and to a cosine of 1
    scale: float = 20.0  # multiplies cosines before the softmax (1 / temperature)
    matryoshka_dims: Sequence[int] = ()  # dimensions to train truncated vectors of; (): whole vectors only
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
                f"matryoshka_dims does not include {self.dimension}, the dimension of whole vectors: these are not "
                "trained."
            )

    @classmethod
    def from_inference_task(cls, task: Task) -> Self:
        return cls(**_fields_of(task, Embed))

    def inference_task(self) -> Embed:
        return Embed(**_fields_of(self, Embed))

    def on_train_start(self, model: Any, labels: Sequence[Any]) -> Self:
        # unless the model's files say how to compute vectors, they are normalized, since cosines are trained
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
        """Return the normalized vectors ``[2 or 3, D]`` of each input's texts."""
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
            raise InputError("A score belongs to a pair of texts; leave scores out for inputs with a negative.")
        return features.with_labels(np.asarray(self.references(labels)))

    def loss(self, output: Any, features: Features) -> Loss:
        vectors = output
        if self.windows:
            vectors = self.finish(pool_windows(output, features.by_part(), self.recipe.modes))
        widths = self.matryoshka_dims or (self.dimension,)
        return sum((self._loss_of(vectors[:, :width], features) for width in widths), vectors.new_zeros(()))

    def _loss_of(self, vectors: Any, features: Features) -> Loss:
        from bertie.tasks.summed_losses import contrastive_sum, squared_error_sum

        do = operations_on(vectors)
        vectors = do.normalize(vectors.float())
        counts = features.part_counts
        firsts = np.cumsum(counts) - counts
        places = (firsts, firsts + 1, firsts[counts > 2] + 2)
        anchors, positives, negatives = (do.take(vectors, place) for place in places)
        if features.labels:
            return squared_error_sum((anchors * positives).sum(dim=1), features.targets)
        keys = np.array(features.part_keys())
        return contrastive_sum(anchors, positives, negatives, self.scale, tuple(keys[place] for place in places))

    # scoring

    def metric(self) -> Metric:
        return RegressionMetric() if self.scored else RetrievalMetric()

    def predictions(self, outputs: Outputs) -> Array:
        """Return the cosine of each pair, or the rank of each anchor's partner among all candidates, ``[N]``."""
        if self.scored:
            return np.array([float(pair[0] @ pair[1]) for pair in outputs.values])
        return ranks_of_partners(outputs.values, outputs.features.part_keys())

    def signature(self, prediction: Any) -> Any:
        # rank 1 for all partners does not mean that all texts are alike
        return None if prediction == 1 and not self.scored else prediction

    def describe(self, prediction: Any) -> str:
        return f"{prediction:.3g}" if self.scored else f"rank {prediction:.0f}"

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found = self.predictions(outputs)
        if not self.scored:
            return [None if rank == 1 else WrongAnswer(float(rank), "rank 1", f"rank {rank:.0f}") for rank in found]
        both = zip(np.asarray(self.references(outputs.labels)).tolist(), found.tolist(), strict=True)
        return [
            WrongAnswer(abs(gold - cosine), f"{gold:.2f}", f"{cosine:.2f}")
            if abs(gold - cosine) >= ERROR_MARGIN
            else None
            for gold, cosine in both
        ]


def _fields_of(task: Task, kind: type[Task]) -> dict[str, Any]:
    return {field.name: getattr(task, field.name) for field in fields(kind)}


def ranks_of_partners(inputs: Sequence[Any] | NDArray[Any], keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return the rank, from 1, of each anchor's partner among all candidates, int64 ``[N]``.

    Inputs are N arrays ``[2 or 3, D]`` of normalized vectors: anchor, positive (its partner) and negative; ``keys``,
    one per vector, identify their texts. Candidates are the positives and negatives of all inputs, each text once. Ties
    rank before the partner, so that a model that gives every text the same vector finds none. The partners of anchors
    with the same text, and that text itself, do not count: they are as good an answer.
    """
    if not len(inputs):
        return np.zeros(0, np.int64)
    remaining = iter(keys)
    texts = [[next(remaining) for _ in vectors] for vectors in inputs]
    candidates: dict[Hashable, NDArray[Any]] = {}
    for each, vectors in zip(texts, inputs, strict=True):
        for key, vector in zip(each[1:], vectors[1:], strict=True):
            candidates.setdefault(key, vector)
    numbers = {key: number for number, key in enumerate(candidates)}
    right = partners_of([each[0] for each in texts], [each[1] for each in texts])
    table, ranks = np.stack(list(candidates.values())).T, []
    step = max(1, MAX_COSINES // len(candidates))
    for first in range(0, len(inputs), step):
        cosines = np.stack([vectors[0] for vectors in inputs[first : first + step]]) @ table
        for row, (anchor, partner, *_) in zip(cosines, texts[first : first + step], strict=True):
            nearer = row >= row[numbers[partner]]
            nearer[[numbers[text] for text in right[anchor] - {partner} if text in numbers]] = False
            ranks.append(nearer.sum())
    return np.array(ranks, np.int64)


def partners_of(anchors: Sequence[Hashable], positives: Sequence[Hashable]) -> dict[Hashable, set[Hashable]]:
    """Return the right candidates for each anchor's text: itself, and the positives of all anchors with that text."""
    right: dict[Hashable, set[Hashable]] = {text: {text} for text in anchors}
    for text, partner in zip(anchors, positives, strict=True):
        right[text].add(partner)
    return right
