"""BertEmbedder: text embeddings as a step of a scikit-learn pipeline."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import bertie
from bertie.errors import InputError, InputTypeError


def test_vectors(start: Path, texts: list[str]) -> None:
    embedder = bertie.BertEmbedder(start, normalize=True)
    vectors = embedder.fit_transform(texts)
    assert (vectors.shape, vectors.dtype) == ((60, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors, bertie.pipeline("embed", start, normalize=True)(texts))
    assert embedder.transform([]).shape == (0, 32)
    assert embedder.get_feature_names_out()[:2].tolist() == ["bertembedder0", "bertembedder1"]
    frame = bertie.BertEmbedder(start).set_output(transform="pandas").fit_transform(pd.Series(texts, index=range(60)))
    assert frame.shape == (60, 32)


def test_before_a_classifier(start: Path, texts: list[str]) -> None:
    y = np.array(["neg", "pos"] * 30)
    chain = make_pipeline(bertie.BertEmbedder(start), LogisticRegression(C=100, max_iter=1000))
    assert cross_val_score(chain, texts, y, cv=3).mean() > 0.8
    search = GridSearchCV(chain, {"bertembedder__max_length": [3, None]}, cv=2).fit(texts, y)
    assert search.best_params_ == {"bertembedder__max_length": None}
    columns = make_column_transformer((bertie.BertEmbedder(start), "body"), ("passthrough", ["age"]))
    frame = pd.DataFrame({"body": texts, "age": range(60)})
    assert columns.fit_transform(frame).shape == (60, 33)


def test_saved_and_pickled_as_files(start: Path, texts: list[str], tmp_path: Path, minilm: Path) -> None:
    embedder = bertie.BertEmbedder(minilm, max_length=9).fit()
    vectors = embedder.transform(texts)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(embedder))))  # noqa: S301 (the pickles are our own)
    np.testing.assert_allclose(again.transform(texts), vectors, atol=1e-6)
    embedder.save_pretrained(tmp_path / "saved")
    saved = bertie.BertEmbedder.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(saved.transform(texts), vectors, atol=1e-6)
    assert saved.max_length == 9
    np.testing.assert_allclose(bertie.pipeline("embed", tmp_path / "saved")(texts), vectors, atol=1e-6)
    assert not hasattr(clone(embedder), "pipeline_")


def test_bad_input(start: Path) -> None:
    with pytest.raises(NotFittedError):
        bertie.BertEmbedder(start).transform(["a"])
    with pytest.raises(InputTypeError, match=r"X\[1\] is None"):
        bertie.BertEmbedder(start).fit().transform(["a", None])
    with pytest.raises(InputError, match="no prompt 'query'"):
        bertie.BertEmbedder(start, prompt_name="query").fit()
    estimator_checks.check_parameters_default_constructible("BertEmbedder", bertie.BertEmbedder())
