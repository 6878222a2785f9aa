"""ROUGE, BLEU and chrF equal the values of the packages that compute them, in chunks, with intervals and notes."""

import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from bertie.errors import BertieError, InputError
from bertie.metrics import Scores, TextOverlapMetric

WRITTEN = ["The cat sat on the mat.", "stocks fell", "", "It rained all day in Paris", "He left London early."]
RIGHT = [
    ("A cat was sitting on the mat.", "The cat sat."),
    ("Stocks fell sharply on Monday.",),
    ("Nothing.",),
    ("It rained in Paris all day.", "Rain."),
    ("He left London early.",),
]


@pytest.mark.parametrize("lowercase", [False, True])
def test_metrics_are_those_of_the_packages(lowercase: bool) -> None:
    scores = Scores(TextOverlapMetric(lowercase=lowercase), replicates=50)
    scores.add(WRITTEN[:2], RIGHT[:2])
    scores.add(WRITTEN[2:], RIGHT[2:])
    found = scores.metrics()
    columns = [[right[place] if place < len(right) else None for right in RIGHT] for place in (0, 1)]
    assert found["bleu"] == pytest.approx(sacrebleu.BLEU(lowercase=lowercase).corpus_score(WRITTEN, columns).score)
    assert found["chrf"] == pytest.approx(sacrebleu.CHRF(lowercase=lowercase).corpus_score(WRITTEN, columns).score)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    expected = [scorer.score_multi(right, said) for said, right in zip(WRITTEN, RIGHT, strict=True)]
    for name in ("rouge1", "rouge2", "rougeL"):
        assert found[name] == pytest.approx(np.mean([each[name].fmeasure for each in expected]))
    for name, (low, high) in scores.intervals().items():
        assert low <= found[name] <= high
    assert scores.notes() == []


def test_texts_that_rouge_ignores() -> None:
    scores = Scores(TextOverlapMetric(), replicates=0)
    scores.add(["дождь идёт", "rain"], [("дождь идёт",), ("rain",)])
    assert scores.metrics()["chrf"] == pytest.approx(100)
    assert scores.metrics()["rougeL"] == 0.5
    assert scores.notes() == [
        "1 of 2 references has no Latin letter and no digit, and ROUGE ignores all else; look at chrf.",
        "No generated text has four words, so bleu, which counts 4-grams, is 0; look at chrf.",
    ]


@pytest.mark.parametrize("labels", [["a text"], [()]])
def test_labels_must_be_lists_of_references(labels: list) -> None:
    with pytest.raises(InputError, match="Row 0 has the prediction 'a' and the label .*; give a text and a list of"):
        TextOverlapMetric().rows(["a"], labels)


@pytest.mark.parametrize(("module", "package"), [("rouge_score", "rouge-score"), ("sacrebleu", "sacrebleu")])
def test_a_package_that_is_missing_is_named(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Nothing(module), *sys.meta_path])
    message = f"Scoring texts needs {package}, which is not installed: pip install 'bertie\\[seq2seq\\]'"
    with pytest.raises(BertieError, match=message):
        TextOverlapMetric()


class _Nothing:
    """Finds no package of this name."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=self.package)


def test_scoring_leaves_the_log_of_the_program_alone() -> None:
    program = (
        "import logging\nfrom bertie.metrics import TextOverlapMetric\n"
        "metric = TextOverlapMetric()\nmetric.rows(['Ada went'], [['Ada went home']])\nassert not logging.root.handlers"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
