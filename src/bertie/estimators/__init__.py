"""scikit-learn estimators: fine-tuned BERT models, and vectors of texts, in `Pipeline`, `GridSearchCV` and the like."""

from bertie.extras import need

need("sklearn", extra="sklearn", what="A scikit-learn estimator")

from bertie.estimators.classifier import BertClassifier  # noqa: E402 (needs what is checked above)
from bertie.estimators.embedder import BertEmbedder  # noqa: E402
from bertie.estimators.regressor import BertRegressor  # noqa: E402
from bertie.estimators.tagger import BertTagger  # noqa: E402

__all__ = ["BertClassifier", "BertEmbedder", "BertRegressor", "BertTagger"]
