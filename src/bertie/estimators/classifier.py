"""BertClassifier: one class or several labels for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from bertie.data.cells import name_in
from bertie.errors import CheckpointError, InputError
from bertie.estimators.estimator import LearningEstimator
from bertie.estimators.inputs import row_of, texts_in

# the dtype kinds of classes that JSON can store
_KINDS = "biufUO"


@dataclass(eq=False, repr=False, kw_only=True)
class BertClassifier(ClassifierMixin, LearningEstimator):
    """A text classifier for scikit-learn: ``BertClassifier("all-MiniLM-L6-v2").fit(texts, labels).predict(texts)``.

    ``X`` holds texts, or pairs of them: a list, an array, a Series, or a DataFrame of one column or two. ``y`` holds
    one class per text, or for multi-label classification 0 and 1 ``[n, C]`` (as ``MultiLabelBinarizer`` makes them).

    Args:
        model: a folder or a name on the hub, to start from.
        epochs, learning_rate, batch_size, patience, seed: as in `bertie.Settings`; None: its defaults.
        max_length: tokens read of a text; None: what the model allows.
        windows: True reads longer texts in windows that overlap by ``overlap`` tokens, instead of cutting them.
        dev: the share of the rows held out from training to choose the best epoch, the temperature and thresholds, or
            a source of its own, as for `bertie.finetune`; None: a tenth; 0: the last epoch is kept.
        lora: the rank of low-rank adapters to train instead of all weights (needs peft).
        settings: all training settings.
        class_weights: the weight of each class's rows in the loss: "auto" gives every class the same total weight; a
            mapping from class to weight, or weights in the order of ``classes_``.
        focal: gamma of the focal loss.
        device: None: CUDA if available, else the CPU.
        show_progress: True always shows progress bars, False never, None on a terminal only.

    Attributes:
        classes_: ``[C]``, in the type of ``y``; for several labels the columns' names or numbers.
        pipeline_: the fitted `bertie.Pipeline`.
        metrics_: on the dev rows, at the best epoch; empty without dev rows.
        history_: of the training; None for a loaded estimator.

    Raises:
        NotFittedError: a method that needs the fitted model is called before `fit`.
        InputTypeError: ``X`` holds something other than texts.
    """

    class_weights: str | Mapping[Any, float] | Sequence[float] | None = None
    focal: float | None = None
    task: ClassVar[str] = "text-classification"

    def fit(self, X: Any, y: Any) -> Self:
        """Fine-tune the model on n texts or pairs, and n classes or 0 and 1 ``[n, C]``.

        Raises:
            InputError: there is only one class, a text is empty, or `bertie.finetune` refuses the rows.
        """
        texts = texts_in(X)
        check_consistent_length(texts, y)
        check_classification_targets(y)
        several = type_of_target(y).startswith("multilabel")
        self.classes_, labels = _several(y) if several else _single(y)
        rows = [row_of(text, label) for text, label in zip(texts, labels, strict=True)]
        weights = self._weights(several, labels)
        kind = "multi-label" if several else "single-label"
        self._learn(rows, kind, class_weights=weights, focal=self.focal)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each text ``[n]``; for several labels int64 ``[n, C]`` of 0 and 1."""
        scores = self.predict_proba(X)
        if self.pipeline_.codec.kind != "multi_label_classification":
            return self.classes_[scores.argmax(axis=1)]
        thresholds = self.pipeline_.codec.thresholds
        lowest = np.full(len(self.classes_), 0.5)
        if thresholds is not None:
            for place, number in self._columns():
                lowest[place] = thresholds[number]
        return (scores >= lowest).astype(np.int64)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probability of each class, float32 ``[n, C]`` in the order of ``classes_``."""
        check_is_fitted(self)
        found = self._scores(texts_in(X))
        scores = np.zeros((len(found), len(self.classes_)), np.float32)
        for place, number in self._columns():
            scores[:, place] = found[:, number]
        return scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _columns(self) -> list[tuple[int, int]]:
        """Return (index in ``classes_``, label number of the model); labels that no text had are left out."""
        numbers = self.pipeline_.model.config.label2id
        names = [name_in(one) for one in self.classes_.tolist()]
        return [(place, numbers[name]) for place, name in enumerate(names) if name in numbers]

    def _weights(self, several: bool, labels: Sequence[Any]) -> str | dict[str, float] | None:
        if self.class_weights is None or isinstance(self.class_weights, str):
            return self.class_weights
        classes = self.classes_.tolist()
        if isinstance(self.class_weights, Mapping):
            unknown = [one for one in self.class_weights if one not in classes]
            if unknown:
                raise InputError(f"class_weights has {unknown[0]!r}, which is not a class of {classes!r:.200}.")
            weights = [float(self.class_weights.get(one, 1.0)) for one in classes]
        else:
            weights = list(self.class_weights)
        if len(weights) != len(classes):
            raise InputError(f"class_weights has {len(weights)} entries, but there are {len(classes)} classes.")
        used = {name for names in labels for name in names} if several else set(labels)
        named = zip(map(name_in, classes), weights, strict=True)
        return {name: weight for name, weight in named if name is not None and name in used}

    def _saved_state(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist(), "dtype": self.classes_.dtype.str}

    def _restore(self, saved: Mapping[str, Any]) -> None:
        super()._restore(saved)
        if "classes" not in saved:
            self.classes_ = np.array(list(self.pipeline_.model.config.id2label.values()))
            return
        dtype = str(saved.get("dtype"))
        if dtype.lstrip("<>|=")[:1] not in _KINDS or not isinstance(saved["classes"], list):
            raise CheckpointError(f"The classes of the saved estimator are damaged ({dtype!r:.40}); save it again.")
        self.classes_ = np.array(saved["classes"], dtype=dtype)


def _single(y: Any) -> tuple[NDArray[Any], list[str]]:
    """Return the sorted classes, and the name of each text's class."""
    values = column_or_1d(y, warn=True)
    plain = values.tolist()
    names = [name_in(value) for value in plain]
    for place, name in enumerate(names):
        if not name:
            raise InputError(f"y[{place}] is {plain[place]!r}; each text needs a class.")
    classes = np.unique(values)
    if len(set(names)) != len(classes):
        raise InputError("Two classes of y differ only in spaces or decimal points; give each class one spelling.")
    return classes, [str(name) for name in names]


def _several(y: Any) -> tuple[NDArray[Any], list[list[str]]]:
    """Return the columns' names or numbers, and the names of each text's labels."""
    columns = getattr(y, "columns", None)
    values = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
    classes = np.arange(values.shape[1]) if columns is None else np.asarray(columns)
    names = [str(name_in(one)) for one in classes.tolist()]
    return classes, [[names[place] for place in np.flatnonzero(row)] for row in values]
