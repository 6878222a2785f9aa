"""Minimal programs of other libraries on the engine give equal results; each runs if its library is installed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

import bertie
from texts import short

pytestmark = pytest.mark.slow
TEXTS = short(96)


@pytest.fixture(autouse=True)
def own_forwards():
    yield
    bertie.uninstall()


def check_equal(run: Callable[[], Any], capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Compare what a program computes before and after `bertie.install()`, and print how long both took."""
    run()
    begun = time.process_time()
    expected = np.asarray(run(), dtype=np.float64)
    before = time.process_time() - begun
    bertie.install()
    run()
    begun = time.process_time()
    found = np.asarray(run(), dtype=np.float64)
    after = time.process_time() - begun
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    with capsys.disabled():
        print(f"\n{name}: {before:.2f} s, after install() {after:.2f} s of processor time: {before / after:.2f} ×")


def test_setfit(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setfit = pytest.importorskip("setfit", reason="setfit is not installed")
    model = setfit.SetFitModel.from_pretrained(str(minilm), device="cpu")
    model.model_head.fit(model.model_body.encode(TEXTS[:16]), [0, 1] * 8)
    check_equal(lambda: model.predict_proba(TEXTS, as_numpy=True), capsys, "setfit")


def test_keybert(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keybert = pytest.importorskip("keybert", reason="KeyBERT is not installed")
    model = keybert.KeyBERT(str(minilm))

    def scores() -> list[float]:
        return [score for words in model.extract_keywords(TEXTS[:24]) for _, score in words]

    check_equal(scores, capsys, "KeyBERT")


def test_bertopic(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bertopic = pytest.importorskip("bertopic", reason="BERTopic is not installed")
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    def topics() -> list[int]:
        parts = {"umap_model": PCA(4, random_state=0), "hdbscan_model": KMeans(4, random_state=0)}
        return bertopic.BERTopic(embedding_model=str(minilm), **parts).fit_transform(TEXTS)[0]

    check_equal(topics, capsys, "BERTopic")


def test_bert_score(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bert_score = pytest.importorskip("bert_score", reason="bert-score is not installed")
    scorer = bert_score.BERTScorer(model_type=str(minilm), num_layers=5, device="cpu")
    assert isinstance(scorer._model, transformers.BertModel)
    check_equal(lambda: scorer.score(TEXTS[:48], TEXTS[48:])[2].numpy(), capsys, "bert-score")


def test_haystack(minilm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = "haystack_integrations.components.embedders.sentence_transformers"
    room = pytest.importorskip(place, reason="sentence-transformers-haystack is not installed")
    from haystack import Document

    embedder = room.SentenceTransformersDocumentEmbedder(model=str(minilm), progress_bar=False)
    embedder.warm_up()
    documents = [Document(content=text) for text in TEXTS]
    check_equal(lambda: [each.embedding for each in embedder.run(documents)["documents"]], capsys, "haystack")
