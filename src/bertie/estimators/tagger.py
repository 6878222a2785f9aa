"""BertTagger: a tag for every word of a text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from bertie.errors import InputError
from bertie.estimators.estimator import LearningEstimator
from bertie.estimators.inputs import sequences_in
from bertie.metrics import Scores
from bertie.pipelines.running import CHUNK
from bertie.tasks.features import Outputs
from bertie.tasks.inference import compute_rows


@dataclass(eq=False, repr=False, kw_only=True)
class BertTagger(LearningEstimator):
    """A tagger of words for scikit-learn: ``BertTagger("all-MiniLM-L6-v2").fit(words, tags).predict(words)``.

    ``X`` holds a list of words for each text, ``y`` a list of as many tags.

    Args:
        model, epochs, learning_rate, batch_size, patience, seed, max_length, windows, overlap: as for `BertClassifier`.
        dev, lora, settings, device, show_progress: as for `BertClassifier`.
        scheme: of the tags, "BIO", "BIOES" or "IO"; None: as they look.
        focal: gamma of the focal loss.

    Attributes:
        classes_: the tags ``[C]``, in the model's order.
        pipeline_: the fitted `bertie.Pipeline`.
        metrics_: of the rows kept as dev, at the best epoch; empty if none were kept.
        history_: of the training; None where the estimator was loaded.

    Raises:
        NotFittedError: a method that needs the fitted model came before `fit`.
        InputTypeError: an ``X`` or ``y`` that holds no lists of str.
    """

    scheme: str | None = None
    focal: float | None = None
    task: ClassVar[str] = "token-classification"

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune the model on n lists of words and n lists of tags.

        Raises:
            InputError: words and tags of different length, one tag only, and what `bertie.finetune` refuses.
        """
        words, tags = sequences_in(X, "X", "word"), sequences_in(y, "y", "tag")
        check_consistent_length(words, tags)
        rows = [{"words": one, "tags": other} for one, other in zip(words, tags, strict=True)]
        options = {} if self.scheme is None else {"scheme": self.scheme}
        self._learn(rows, options=options, focal=self.focal)
        return self

    def predict(self, X: Any) -> list[list[str]]:
        """Return the tags of each text, one a word."""
        check_is_fitted(self)
        predictions = self.pipeline_.codec.predictions
        return [tags for outputs in self._computed(X) for tags in predictions(outputs)]

    def predict_proba(self, X: Any) -> list[NDArray[np.float32]]:
        """Return the probability of each tag for the words of each text, float32 ``[W, C]`` in the order of `classes_`.

        A word that was not read, beyond the longest text or without a token, has zeros.
        """
        check_is_fitted(self)
        word_scores = self.pipeline_.codec.word_scores
        return [scores for outputs in self._computed(X) for scores in word_scores(outputs)]

    def score(self, X: Any, y: Any) -> float:
        """Return the F1 of entities, as conlleval counts them; of tags that name no entities, their accuracy.

        Raises:
            InputError: words and tags of different length.
        """
        predictions, tags = self.predict(X), sequences_in(y, "y", "tag")
        check_consistent_length(predictions, tags)
        for place, (given, wanted) in enumerate(zip(predictions, tags, strict=True)):
            if len(given) != len(wanted):
                raise InputError(f"Text {place} has {len(given)} words and {len(wanted)} tags; each word has one tag.")
        scores = Scores(self.pipeline_.codec.metric(), replicates=0)
        scores.add(predictions, tags)
        return float(scores.metrics()[scores.metric.main] or 0.0)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The tags ``[C]``, in the model's order."""
        check_is_fitted(self)
        return np.array(list(self.pipeline_.model.config.id2label.values()))

    def _computed(self, X: Any) -> Iterator[Outputs]:
        """Yield what the model computes for lists of words, part by part."""
        pipe, words = self.pipeline_, sequences_in(X, "X", "word")
        for first in range(0, len(words), CHUNK):
            features = pipe.codec.encode(words[first : first + CHUNK], first)
            rows = compute_rows(pipe.codec, pipe.computing, features, batch_tokens=pipe.batch_tokens, first=first)
            yield pipe.codec.outputs(rows, features)
