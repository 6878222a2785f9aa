"""Metrics: predictions and labels come in, in parts of any size; metrics with bootstrap intervals come out. NumPy only.

`Scores` runs any of them.
"""

from bertie.metrics.classification import ClassificationMetric
from bertie.metrics.entities import EntityMetric
from bertie.metrics.means import MaskedLMMetric, MultipleChoiceMetric
from bertie.metrics.multi_label import MultiLabelMetric
from bertie.metrics.question_answering import QuestionAnsweringMetric
from bertie.metrics.ranking import RankingMetric, RerankingMetric, RetrievalMetric
from bertie.metrics.regression import RegressionMetric
from bertie.metrics.streaming import Metric, Scores
from bertie.metrics.text_overlap import TextOverlapMetric

__all__ = [
    "ClassificationMetric",
    "EntityMetric",
    "MaskedLMMetric",
    "Metric",
    "MultiLabelMetric",
    "MultipleChoiceMetric",
    "QuestionAnsweringMetric",
    "RankingMetric",
    "RegressionMetric",
    "RerankingMetric",
    "RetrievalMetric",
    "Scores",
    "TextOverlapMetric",
]
