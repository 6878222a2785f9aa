"""scikit-learn estimators: fine-tuned BERT models and text embeddings for `Pipeline`, `GridSearchCV` and the like."""

from bertie.extras import need

need("sklearn", extra="sklearn", what="A scikit-learn estimator")

from bertie.estimators.classifier import BertClassifier
from bertie.estimators.embedder import BertEmbedder
from bertie.estimators.regressor import BertRegressor
from bertie.estimators.tagger import BertTagger

__all__ = ["BertClassifier", "BertEmbedder", "BertRegressor", "BertTagger"]
