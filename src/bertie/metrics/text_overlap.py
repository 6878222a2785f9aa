"""Generated texts against references: ROUGE, BLEU and chrF, computed by the packages `rouge-score` and `sacrebleu`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import InputError, plural
from bertie.extras import need
from bertie.metrics.counts import ratio
from bertie.metrics.streaming import Additive, Given

_ROUGE = ("rouge1", "rouge2", "rougeL")
# A row: the F1 of each ROUGE, 1, and whether ROUGE finds no token in the references; then the n-gram counts of BLEU
# and of chrF.
_BLEU_COUNTS = slice(len(_ROUGE) + 2, len(_ROUGE) + 12)
_CHRF_COUNTS = slice(_BLEU_COUNTS.stop, _BLEU_COUNTS.stop + 18)


@dataclass(frozen=True)
class TextOverlapMetric(Additive):
    """Predictions: one text per row. Labels: the references of each row, one or several.

    Metrics: ``rouge1``, ``rouge2`` and ``rougeL`` (Lin 2004), the means over rows of the F1 of shared unigrams, shared
    bigrams and the longest common subsequence, with stemming, between 0 and 1; ``bleu`` (Papineni et al. 2002) and
    ``chrf`` (Popović 2015) of the whole corpus, between 0 and 100.
    """

    lowercase: bool = False  # whether BLEU and chrF ignore case, as ROUGE always does
    main = "rougeL"
    names = (*_ROUGE, "bleu", "chrf")

    def __post_init__(self) -> None:
        _ = self._rouge, self._bleu, self._chrf  # reports a missing package before anything is computed

    def rows(self, predictions: Given, labels: Given) -> NDArray:
        for at, (predicted, right) in enumerate(zip(predictions, labels, strict=True)):
            if not isinstance(predicted, str) or isinstance(right, str) or not right:
                raise InputError(
                    f"Row {at} has the prediction {predicted!r:.60} and the label {right!r:.60}; give a text and a "
                    "list of references."
                )
        found = [self._row(predicted, right) for predicted, right in zip(predictions, labels, strict=True)]
        return np.array(found, np.float64).reshape(-1, _CHRF_COUNTS.stop)

    def compute(self, sums: NDArray) -> dict[str, NDArray]:
        found = {name: ratio(sums[..., column], sums[..., len(_ROUGE)]) for column, name in enumerate(_ROUGE)}
        for name, package, part in (("bleu", self._bleu, _BLEU_COUNTS), ("chrf", self._chrf, _CHRF_COUNTS)):
            found[name] = np.apply_along_axis(partial(_score, package), -1, sums[..., part])
        return found

    def notes(self, sums: NDArray) -> list[str]:
        count, unread = int(sums[len(_ROUGE)]), int(sums[len(_ROUGE) + 1])
        found = []
        if unread:
            found.append(
                f"{unread:,} of {count:,} references {plural(unread, 'has', 'have')} no Latin letter and no digit, "
                "and ROUGE ignores all else; look at chrf."
            )
        if not sums[_BLEU_COUNTS][-1]:
            found.append("No generated text has four words, so bleu, which counts 4-grams, is 0; look at chrf.")
        return found

    def _row(self, predicted: str, right: Sequence[str]) -> list[float]:
        rouge = self._rouge.score_multi(right, predicted)
        unread = not any(one.isascii() and one.isalnum() for text in right for one in text)
        references = [[text] for text in right]
        # the statistics that sacrebleu's own bootstrap sums over rows
        counts = [each._extract_corpus_statistics([predicted], references)[0] for each in (self._bleu, self._chrf)]
        return [*(rouge[name].fmeasure for name in _ROUGE), 1.0, float(unread), *counts[0], *counts[1]]

    @cached_property
    def _rouge(self) -> Any:
        module: Any = need("rouge_score.rouge_scorer", "seq2seq", "Scoring texts")
        # unless given a tokenizer it logs through absl, which changes the format of all later warnings of the process
        words = module.tokenizers.DefaultTokenizer(use_stemmer=True)
        return module.RougeScorer(list(_ROUGE), tokenizer=words)

    @cached_property
    def _bleu(self) -> Any:
        module: Any = need("sacrebleu", "seq2seq", "Scoring texts")
        return module.metrics.BLEU(lowercase=self.lowercase, force=True)

    @cached_property
    def _chrf(self) -> Any:
        module: Any = need("sacrebleu", "seq2seq", "Scoring texts")
        return module.metrics.CHRF(lowercase=self.lowercase)


def _score(metric: Any, counts: NDArray) -> float:
    return float(metric._compute_score_from_stats(counts.tolist()).score)
