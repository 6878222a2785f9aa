"""BertRegressor: numbers of any scale, learned equally well and predicted in their own unit."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import is_regressor
from sklearn.model_selection import cross_val_score

import bertie
from bertie.errors import InputError


def regressor(start: Path, **more: Any) -> Any:
    options = {"epochs": 15, "learning_rate": 3e-3, "batch_size": 8, "show_progress": False}
    return bertie.BertRegressor(start, **{**options, **more})


@pytest.fixture(scope="module")
def prices(texts: list[str]) -> list[float]:
    return [120_000.0 + 50_000 * (number % 2) for number in range(len(texts))]


def test_numbers_in_their_own_unit(start: Path, texts: list[str], prices: list[float], tmp_path: Path) -> None:
    model = regressor(start).fit(texts, prices)
    assert is_regressor(model)
    found = model.predict(texts)
    assert (found.shape, found.dtype) == ((60,), np.float32)
    assert model.score(texts, prices) > 0.5
    assert 0 < model.metrics_["mae"] < 25_000
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 (the pickle is our own)
    # trained with PyTorch, then answered by the engine from the saved model
    np.testing.assert_allclose(again.predict(texts), found, rtol=1e-6)
    model.save_pretrained(tmp_path / "saved")
    loaded = bertie.BertRegressor.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict(texts), again.predict(texts))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(loaded)).predict(texts), again.predict(texts))  # noqa: S301
    said = bertie.pipeline("text-classification", tmp_path / "saved")(texts[0])
    assert said[0]["score"] == pytest.approx(float(found[0]), rel=1e-5)


def test_the_scale_of_labels_does_not_matter(start: Path, texts: list[str], prices: list[float]) -> None:
    one = regressor(start, epochs=2).fit(texts, prices).predict(texts)
    other = regressor(start, epochs=2).fit(texts, np.array(prices) / 1e6 - 3).predict(texts)
    np.testing.assert_allclose(other, one / 1e6 - 3, rtol=1e-3)


def test_a_dev_source_has_the_same_scale(start: Path, texts: list[str], prices: list[float]) -> None:
    rows = [{"text": text, "label": price} for text, price in zip(texts, prices, strict=True)]
    model = regressor(start, dev=rows[:20]).fit(texts[20:], prices[20:])
    mae = np.abs(model.predict(texts[:20]) - prices[:20]).mean()
    assert model.metrics_["mae"] == pytest.approx(mae, rel=1e-3)


def test_cross_validation(start: Path, texts: list[str], prices: list[float]) -> None:
    scores = cross_val_score(regressor(start, epochs=2), texts, prices, cv=2, scoring="neg_mean_absolute_error")
    assert (scores > -50_000).all()


def test_bad_numbers(start: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"y\[1\] is nan"):
        regressor(start).fit(texts[:2], [1.0, float("nan")])
    with pytest.raises(InputError, match="have the label 3"):
        regressor(start).fit(texts, [3.0] * 60)
