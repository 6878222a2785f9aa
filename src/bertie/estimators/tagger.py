"""BertTagger: one tag per word of a text."""

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
    """A word tagger for scikit-learn: ``BertTagger("all-MiniLM-L6-v2").fit(words, tags).predict(words)``.

    ``X`` holds a list of words per text, ``y`` a list of as many tags.

    Args:
        model, epochs, learning_rate, batch_size, patience, seed, max_length, windows, overlap: as for `BertClassifier`.
        dev, lora, settings, device, show_progress: as for `BertClassifier`.
        scheme: of the tags, "BIO", "BIOES" or "IO"; None: guessed from the tags.
        focal: gamma of the focal loss.

    Attributes:
        classes_: the tags ``[C]``, in the model's order.
        pipeline_: the fitted `bertie.Pipeline`.
        metrics_: on the dev rows, at the best epoch; empty without dev rows.
        history_: of the training; None for a loaded estimator.

    Raises:
        NotFittedError: a method that needs the fitted model is called before `fit`.
        InputTypeError: ``X`` or ``y`` holds something other than lists of str.
    """

    scheme: str | None = None
    focal: float | None = None
    task: ClassVar[str] = "token-classification"

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune the model on n lists of words and n lists of tags.

        Raises:
            InputError: words and tags differ in length, there is only one tag, or `bertie.finetune` refuses the rows.
        """
        words, tags = sequences_in(X, "X", "word"), sequences_in(y, "y", "tag")
        check_consistent_length(words, tags)
        rows = [{"words": one, "tags": other} for one, other in zip(words, tags, strict=True)]
        options = {} if self.scheme is None else {"scheme": self.scheme}
        self._learn(rows, options=options, focal=self.focal)
        return self

    def predict(self, X: Any) -> list[list[str]]:
        """Return the tags of each text, one per word."""
        check_is_fitted(self)
        predictions = self.pipeline_.codec.predictions
        return [tags for outputs in self._compute(X) for tags in predictions(outputs)]

    def predict_proba(self, X: Any) -> list[NDArray[np.float32]]:
        """Return the tag probabilities of each text's words, float32 ``[W, C]`` in the order of `classes_`.

        A word that was not read, because it was cut off or has no token, has zeros.
        """
        check_is_fitted(self)
        word_scores = self.pipeline_.codec.word_scores
        return [scores for outputs in self._compute(X) for scores in word_scores(outputs)]

    def score(self, X: Any, y: Any) -> float:
        """Return the F1 of entities, counted as conlleval does.

        Raises:
            InputError: words and tags differ in length.
        """
        predictions, tags = self.predict(X), sequences_in(y, "y", "tag")
        check_consistent_length(predictions, tags)
        for place, (predicted, gold) in enumerate(zip(predictions, tags, strict=True)):
            if len(predicted) != len(gold):
                raise InputError(
                    f"Text {place} has {len(predicted)} words and {len(gold)} tags; give one tag per word."
                )
        scores = Scores(self.pipeline_.codec.metric(), replicates=0)
        scores.add(predictions, tags)
        return float(scores.metrics()[scores.metric.main] or 0.0)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The tags ``[C]``, in the model's order."""
        check_is_fitted(self)
        return np.array(list(self.pipeline_.model.config.id2label.values()))

    def _compute(self, X: Any) -> Iterator[Outputs]:
        """Yield the model's outputs for lists of words, chunk by chunk."""
        pipe, words = self.pipeline_, sequences_in(X, "X", "word")
        for first in range(0, len(words), CHUNK):
            features = pipe.codec.encode(words[first : first + CHUNK], first)
            rows = compute_rows(pipe.codec, pipe.computing, features, batch_tokens=pipe.batch_tokens, first=first)
            yield pipe.codec.outputs(rows, features)
