"""Extractive answers: exact match and F1 as SQuAD's own scripts for v1.1 and v2.0 define them."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError
from bertie.metrics.counts import ratio
from bertie.metrics.streaming import Additive, Given

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class QuestionAnsweringMetric(Additive):
    """Predictions: one text per question, empty for "no answer". Labels: the gold answers of each question.

    Metrics: ``exact_match`` and ``f1``, between 0 and 1, each the best over a question's gold answers; with
    ``unanswerable``, and if there are such questions, also ``HasAns_exact``, ``HasAns_f1`` (over answerable questions),
    ``NoAns_exact`` and ``NoAns_f1`` (equal: the share of unanswerable questions that were left unanswered).

    With ``unanswerable`` they are counted as by SQuAD's v2.0 script: a question without gold answers (or whose gold
    answers normalize to nothing, like "the") is correct if left unanswered; otherwise as by the v1.1 script.
    """

    unanswerable: bool = False
    meaning = "f1 is the harmonic mean of precision and recall over an answer's words, exact_match 1 if all match"
    main = "f1"
    names = ("exact_match", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        rows = np.zeros((len(labels), 3))  # exact match, F1, and whether there is an answer
        for at, (predicted, right) in enumerate(zip(predictions, labels, strict=True)):
            if not isinstance(predicted, str) or isinstance(right, str):
                raise InputError(
                    f"Question {at} has the prediction {predicted!r:.60} and the label {right!r:.60}; give a text and "
                    "a list of gold answers."
                )
            rows[at] = self._row(predicted, right)
        return rows

    def statistics(self, rows: NDArray) -> NDArray:
        # number, exact match and F1 of questions with and without an answer
        values = np.stack([np.ones(len(rows)), rows[:, 0], rows[:, 1]], axis=1)
        return np.hstack([values * rows[:, 2:], values * (1 - rows[:, 2:])])

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        parts = {"HasAns": sums[..., :3], "NoAns": sums[..., 3:]}
        found = dict(zip(("exact_match", "f1"), _means(parts["HasAns"] + parts["NoAns"]), strict=True))
        if self.unanswerable and np.any(parts["NoAns"][..., 0]):
            for name, part in parts.items():
                found |= dict(zip((f"{name}_exact", f"{name}_f1"), _means(part), strict=True))
        return found

    def notes(self, sums: NDArray) -> list[str]:
        if not self.unanswerable or (sums[0] and sums[3]):
            return []
        return ["Every question has an answer." if sums[0] else "No question has an answer."]

    def _row(self, predicted: str, right: Sequence[str]) -> tuple[float, float, float]:
        if not self.unanswerable:
            return (*best_match(predicted, right), 1.0)
        answers = [text for text in right if normalize(text)]
        if answers:
            return (*best_match(predicted, answers), 1.0)
        is_unanswered = float(not normalize(predicted))
        return is_unanswered, is_unanswered, 0.0


def normalize(text: str) -> str:
    """Return a text as SQuAD compares it: lower-cased, without punctuation and articles, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def best_match(predicted: str, right: Sequence[str]) -> tuple[float, float]:
    """Return exact match and F1 against the best-matching gold answer; 0 where there is none."""
    predicted = normalize(predicted)
    texts = [normalize(text) for text in right]
    return float(predicted in texts), max((_f1(predicted, text) for text in texts), default=0.0)


def _f1(predicted: str, right: str) -> float:
    words, others = predicted.split(), right.split()
    common = sum((Counter(words) & Counter(others)).values())
    return 2 * common / (len(words) + len(others)) if common else 0.0


def _means(sums: NDArray) -> tuple[NDArray, NDArray]:
    return ratio(sums[..., 1], sums[..., 0]), ratio(sums[..., 2], sums[..., 0])
