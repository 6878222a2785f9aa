"""Answers to questions on a text: exact match and F1 as SQuAD's own scripts for v1.1 and v2.0 define them."""

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
    """Predictions: one text a question, empty for "there is no answer". Labels: the right texts of each question.

    Figures: ``exact_match`` and ``f1``, between 0 and 1, each the best over a question's right texts; with
    ``unanswerable``, and if there are such questions, also ``HasAns_exact``, ``HasAns_f1`` (over questions with an
    answer), ``NoAns_exact`` and ``NoAns_f1`` (which are equal: the share of the others that were left unanswered).

    With ``unanswerable`` they are counted as by the script of v2.0: a question without right texts (or only with such
    as vanish in normalising, as "the") is answered rightly by nothing; without, as by that of v1.1.
    """

    unanswerable: bool = False
    meaning = "f1 is the harmonic mean of precision and recall of an answer's words, exact_match 1 if all are right"
    main = "f1"
    names = ("exact_match", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        rows = np.zeros((len(labels), 3))  # exact match, F1, and whether there is an answer
        for at, (predicted, right) in enumerate(zip(predictions, labels, strict=True)):
            if not isinstance(predicted, str) or isinstance(right, str):
                raise InputError(
                    f"Question {at} has the prediction {predicted!r:.60}; give a text, and a list of right ones."
                )
            rows[at] = self._row(predicted, right)
        return rows

    def statistics(self, rows: NDArray) -> NDArray:
        # number, exact match and F1 of questions with and without an answer
        values = np.stack([np.ones(len(rows)), rows[:, 0], rows[:, 1]], axis=1)
        return np.hstack([values * rows[:, 2:], values * (1 - rows[:, 2:])])

    def figures(self, sums: NDArray) -> dict[str, NDArray]:
        parts = {"HasAns": sums[..., :3], "NoAns": sums[..., 3:]}
        figures = dict(zip(("exact_match", "f1"), _means(parts["HasAns"] + parts["NoAns"]), strict=True))
        if self.unanswerable and np.any(parts["NoAns"][..., 0]):
            for name, part in parts.items():
                figures |= dict(zip((f"{name}_exact", f"{name}_f1"), _means(part), strict=True))
        return figures

    def notes(self, sums: NDArray) -> list[str]:
        if not self.unanswerable or (sums[0] and sums[3]):
            return []
        return ["Every question has an answer." if sums[0] else "No question has an answer."]

    def _row(self, predicted: str, right: Sequence[str]) -> tuple[float, float, float]:
        if not self.unanswerable:
            return (*best_match(predicted, right), 1.0)
        there = [text for text in right if normalize(text)]
        if there:
            return (*best_match(predicted, there), 1.0)
        nothing = float(not normalize(predicted))
        return nothing, nothing, 0.0


def normalize(text: str) -> str:
    """Return a text as SQuAD compares it: lower case, without punctuation and articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def best_match(predicted: str, right: Sequence[str]) -> tuple[float, float]:
    """Return exact match and F1 of an answer with the right text it fits best; 0 where there is no right text."""
    predicted = normalize(predicted)
    texts = [normalize(text) for text in right]
    return float(predicted in texts), max((_f1(predicted, text) for text in texts), default=0.0)


def _f1(predicted: str, right: str) -> float:
    words, others = predicted.split(), right.split()
    common = sum((Counter(words) & Counter(others)).values())
    return 2 * common / (len(words) + len(others)) if common else 0.0


def _means(sums: NDArray) -> tuple[NDArray, NDArray]:
    return ratio(sums[..., 1], sums[..., 0]), ratio(sums[..., 2], sums[..., 0])
