"""BertClassifier: classes of any type, several labels, pairs, and scikit-learn's own tools around it."""

import io
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MultiLabelBinarizer
from sklearn.utils import estimator_checks

import bertie
from bertie.errors import CheckpointError, InputError, InputTypeError
from bertie.estimators.estimator import STATE_FILE


def classifier(start: Path, **more: Any) -> Any:
    options = {"epochs": 5, "learning_rate": 5e-3, "batch_size": 8, "show_progress": False}
    return bertie.BertClassifier(start, **{**options, **more})


@pytest.fixture(scope="module")
def fitted(start: Path, texts: list[str]) -> Any:
    return classifier(start).fit(texts, ["neg", "pos"] * 30)


def test_fit_and_predict(fitted: Any, texts: list[str]) -> None:
    assert fitted.classes_.tolist() == ["neg", "pos"]
    assert fitted.score(texts, ["neg", "pos"] * 30) > 0.9
    probabilities = fitted.predict_proba(texts[:4])
    assert probabilities.shape == (4, 2)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert fitted.predict(texts[:2]).tolist() == ["neg", "pos"]
    assert fitted.predict_proba([]).shape == (0, 2)
    assert set(fitted.metrics_) >= {"accuracy", "f1_macro"}
    assert fitted.history_.step == fitted.history_.total == 35  # a tenth of 60 is kept as dev, nothing for scoring


@pytest.mark.parametrize("classes", [[10, 9], [True, False], [1.0, 2.0], np.array(["ä b", "z"]), ["2", "10"]])
def test_classes_keep_their_type(start: Path, texts: list[str], classes: Any) -> None:
    y = np.array([classes[number % 2] for number in range(60)])
    model = classifier(start).fit(np.array(texts), y)
    assert model.classes_.tolist() == np.unique(y).tolist()
    found = model.predict(texts)
    assert found.dtype == y.dtype
    assert (found == y).mean() > 0.9
    assert (model.classes_[model.predict_proba(texts).argmax(axis=1)] == found).all()


def test_several_labels(start: Path, texts: list[str]) -> None:
    names = [[*(["pos"] if "good" in text else []), *(["film"] if "plot" in text else [])] for text in texts]
    y = MultiLabelBinarizer(classes=["film", "never", "pos"]).fit_transform(names)
    model = classifier(start, epochs=10).fit(texts, y)
    assert model.classes_.tolist() == [0, 1, 2]
    found = model.predict(texts)
    assert (found.shape, found.dtype) == (y.shape, np.int64)
    assert (found == y).mean() > 0.8
    assert not model.predict_proba(texts)[:, 1].any()
    frame = pd.DataFrame(y[:, ::2], columns=["film", "pos"])
    assert classifier(start, epochs=1).fit(texts, frame).classes_.tolist() == ["film", "pos"]
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 (the pickle is our own)
    assert (again.predict(texts) == found).all()


def test_pairs_and_columns(start: Path, texts: list[str]) -> None:
    y = ["neg", "pos"] * 30
    frame = pd.DataFrame({"a": texts, "b": texts[::-1], "c": range(60)})
    model = classifier(start, epochs=1).fit(frame[["a", "b"]], y)
    pairs = list(zip(texts, texts[::-1], strict=True))
    expected = model.predict_proba(pairs)
    for given in (frame[["a", "b"]], np.array(pairs), [list(pair) for pair in pairs]):
        np.testing.assert_array_equal(model.predict_proba(given), expected)
    one = model.predict_proba(texts)
    for given in (frame["a"], frame[["a"]], np.array(texts)[:, None]):
        np.testing.assert_array_equal(model.predict_proba(given), one)
    with pytest.raises(InputError, match="table of 3 columns"):
        model.predict(frame)


def test_inside_scikit_learn(start: Path, texts: list[str]) -> None:
    y = np.array(["neg", "pos"] * 30)
    frame = pd.DataFrame({"body": texts, "other": 1})
    column = ColumnTransformer([("text", "passthrough", ["body"])]).set_output(transform="pandas")
    lower = make_pipeline(column, FunctionTransformer(lambda table: table), classifier(start, epochs=1))
    assert cross_val_score(lower, frame, y, cv=2).shape == (2,)
    search = GridSearchCV(classifier(start, epochs=8), {"learning_rate": [1e-7, 5e-3]}, cv=2, scoring="neg_log_loss")
    search.fit(pd.Series(texts), y)
    assert search.best_params_ == {"learning_rate": 5e-3}
    assert search.best_estimator_.score(texts, y) > 0.7


def test_parameters(start: Path) -> None:
    model = classifier(start, class_weights={"a": 2.0}, settings=bertie.Settings(warmup=0.2))
    assert model.get_params()["class_weights"] == {"a": 2.0}
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert model.set_params(epochs=9).epochs == 9
    assert copy.epochs == 5
    assert "epochs=9" in repr(model)
    assert is_classifier(model)
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        model.set_params(epoch=1)
    with pytest.raises(TypeError, match="epoch"):
        classifier(start, epoch=1)


@pytest.mark.parametrize(
    "name",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
        "check_get_params_invariance",
        "check_set_params",
        "check_mixin_order",
    ],
)
@pytest.mark.parametrize("kind", ["BertClassifier", "BertRegressor", "BertTagger", "BertEmbedder"])
def test_checks_of_scikit_learn(start: Path, name: str, kind: str) -> None:
    # its other checks fit numbers instead of texts
    getattr(estimator_checks, name)(kind, getattr(bertie, kind)(model=str(start)))


def test_pickled_as_files(fitted: Any, texts: list[str], start: Path, tmp_path: Path) -> None:
    data = pickle.dumps(fitted)
    assert b"model.safetensors" in data
    assert b"torch" not in data
    again = pickle.loads(data)  # noqa: S301 (the pickle is our own)
    # trained with PyTorch, then answered by the engine from the saved model
    np.testing.assert_allclose(again.predict_proba(texts), fitted.predict_proba(texts), atol=1e-6)
    assert again.metrics_ == fitted.metrics_
    stream = io.BytesIO()
    joblib.dump(again, stream)
    stream.seek(0)
    np.testing.assert_array_equal(joblib.load(stream).predict(texts), fitted.predict(texts))
    assert not hasattr(pickle.loads(pickle.dumps(classifier(start))), "pipeline_")  # noqa: S301


def test_saved_in_hub_layout(fitted: Any, texts: list[str], start: Path, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path / "saved")
    again = bertie.BertClassifier.from_pretrained(tmp_path / "saved", batch_size=4)
    assert again.get_params() == {**fitted.get_params(), "model": str(start), "batch_size": 4}
    np.testing.assert_array_equal(again.predict(texts), fitted.predict(texts))
    assert bertie.pipeline("text-classification", tmp_path / "saved")(texts[1])[0]["label"] == "pos"
    with pytest.raises(CheckpointError, match="of a 'BertClassifier'; load it with that class"):
        bertie.BertRegressor.from_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / STATE_FILE).unlink()
    plain = bertie.BertClassifier.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(plain.predict(texts), fitted.predict(texts))


def test_saved_classes_keep_their_type(start: Path, texts: list[str], tmp_path: Path) -> None:
    model = classifier(start, epochs=1).fit(texts, [7, 11] * 30)
    model.save_pretrained(tmp_path / "saved")
    again = bertie.BertClassifier.from_pretrained(tmp_path / "saved")
    assert again.classes_.dtype == model.classes_.dtype
    assert again.predict(texts).tolist() == model.predict(texts).tolist()


@pytest.mark.parametrize("weights", ["auto", {"pos": 3.0}, [1.0, 3.0]])
def test_class_weights(start: Path, texts: list[str], weights: Any) -> None:
    model = classifier(start, class_weights=weights, epochs=1).fit(texts, ["neg", "pos"] * 30)
    expected = [1.0, 3.0] if weights != "auto" else model.pipeline_.codec.class_weights
    assert list(model.pipeline_.codec.class_weights) == list(expected)


def test_dev_rows_work_as_in_finetune(start: Path, texts: list[str]) -> None:
    y = ["neg", "pos"] * 30
    untuned = classifier(start, epochs=1, dev=0).fit(texts, y)
    assert untuned.metrics_ == {}
    assert untuned.history_.total == 8
    rows = [{"text": text, "label": label} for text, label in zip(texts, y, strict=True)][:10]
    assert classifier(start, epochs=1, dev=rows).fit(texts, y).history_.total == 8


def test_bad_input(start: Path, texts: list[str], fitted: Any) -> None:
    model = classifier(start)
    with pytest.raises(NotFittedError):
        model.predict(texts)
    with pytest.raises(NotFittedError):
        model.save_pretrained("nowhere")
    for given, message in (
        ("a text", "X is a single text"),
        ([3, 4], r"X\[0\] is 3 \(int\)"),
        ([["a", "b", "c"]], r"X\[0\]"),
    ):
        with pytest.raises(InputTypeError, match=message):
            fitted.predict(given)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(texts, ["neg"])
    with pytest.raises(InputError, match="needs rows of two classes"):
        model.fit(texts, ["neg"] * 60)
    with pytest.raises(InputError, match=r"y\[1\] is ' '; each text needs a class"):
        model.fit(texts, ["neg", " "] * 30)
    with pytest.raises(InputError, match="differ only in spaces"):
        model.fit(texts, ["neg", "neg "] * 30)
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(texts, np.linspace(0, 1, 60))
    with pytest.raises(InputError, match="'bad', which is not a class"):
        classifier(start, class_weights={"bad": 1}).fit(texts, ["neg", "pos"] * 30)
