"""Metrics with bootstrap confidence intervals, computed from predictions and labels added in chunks of any size.

`Scores` runs any of them. NumPy only.
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
