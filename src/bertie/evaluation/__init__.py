"""Evaluation: a model and labelled data in; figures with their intervals, and the worst mistakes, out."""

from bertie.evaluation.evaluation import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
