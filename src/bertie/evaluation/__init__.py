"""Evaluation: a model and labelled data in; metrics with their intervals and the worst mistakes out."""

from bertie.evaluation.comparison import Comparison, compare
from bertie.evaluation.evaluation import Evaluation, evaluate

__all__ = ["Comparison", "Evaluation", "compare", "evaluate"]
