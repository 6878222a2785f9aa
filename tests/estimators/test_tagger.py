"""BertTagger: lists of words in, one tag per word out."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

import bertie
from bertie.errors import InputError, InputTypeError

NAMES = {"good": "B-G", "lovely": "B-G", "fine": "B-G", "bad": "B-B", "awful": "B-B", "dull": "B-B", "film": "I-G"}


def tagger(start: Path, **more: Any) -> Any:
    options = {"epochs": 12, "learning_rate": 1e-2, "batch_size": 8, "show_progress": False}
    return bertie.BertTagger(start, **{**options, **more})


@pytest.fixture(scope="module")
def words(texts: list[str]) -> list[list[str]]:
    return [text.split() for text in texts]


@pytest.fixture(scope="module")
def tags(words: list[list[str]]) -> list[list[str]]:
    return [[NAMES.get(word, "O") if word != "film" else "O" for word in each] for each in words]


@pytest.fixture(scope="module")
def fitted(start: Path, words: list[list[str]], tags: list[list[str]]) -> Any:
    return tagger(start).fit(words, tags)


def test_fit_and_predict(fitted: Any, words: list[list[str]], tags: list[list[str]]) -> None:
    assert set(fitted.classes_) == {"O", "B-G", "B-B"}
    found = fitted.predict(words)
    assert [len(each) for each in found] == [len(each) for each in words]
    assert fitted.score(words, tags) > 0.9
    assert "f1" in fitted.metrics_
    assert fitted.predict(pd.Series(words)) == fitted.predict([tuple(each) for each in words]) == found
    assert fitted.predict([np.array(each) for each in words]) == found


def test_probabilities(fitted: Any, words: list[list[str]]) -> None:
    found = fitted.predict_proba([*words, ["good", "\x00", "film"]])
    assert [each.shape for each in found[:-1]] == [(len(each), 3) for each in words]
    assert np.concatenate(found[:-1]).sum(axis=1) == pytest.approx(1, abs=1e-5)
    likeliest = [fitted.classes_[each.argmax(axis=1)].tolist() for each in found[:-1]]
    assert likeliest == fitted.predict(words)  # there are no I- tags, so every sequence is valid
    assert found[-1].sum(axis=1) == pytest.approx([1, 0, 1], abs=1e-5)


def test_saved_and_pickled_as_files(fitted: Any, words: list[list[str]], tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 (the pickle is our own)
    assert again.predict(words) == fitted.predict(words)
    fitted.save_pretrained(tmp_path / "saved")
    loaded = bertie.BertTagger.from_pretrained(tmp_path / "saved")
    assert loaded.predict(words) == fitted.predict(words)
    assert loaded.classes_.tolist() == fitted.classes_.tolist()


def test_inside_scikit_learn(start: Path, words: list[list[str]], tags: list[list[str]]) -> None:
    assert cross_val_score(tagger(start, epochs=1), words, tags, cv=2).shape == (2,)
    search = GridSearchCV(tagger(start), {"epochs": [1, 9]}, cv=2).fit(words, tags)
    assert search.best_params_ == {"epochs": 9}


def test_bad_input(start: Path, fitted: Any, words: list[list[str]], tags: list[list[str]]) -> None:
    with pytest.raises(NotFittedError):
        tagger(start).predict(words)
    with pytest.raises(InputTypeError, match=r"X\[0\] is 'a good film'"):
        fitted.predict(["a good film"])
    with pytest.raises(InputTypeError, match=r"y\[0\] is \[1\]"):
        tagger(start).fit([["good"]], [[1]])
    with pytest.raises(InputError, match=f"{len(words[1])} words and {len(words[1]) + 1} tags in row 1"):
        tagger(start).fit(words, [tags[0], [*tags[1], "O"], *tags[2:]])
    with pytest.raises(InputError, match="Text 1 has"):
        fitted.score(words[:2], [tags[0], [*tags[1], "O"]])
