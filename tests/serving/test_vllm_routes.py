"""vLLM's routes: all probabilities of a text, and vectors of texts or tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie

Serve = Callable[..., Any]
TEXTS = ["A cat sat on the mat.", "It rained."]


def test_classify(served: Serve, folders: dict[str, Path]) -> None:
    client = served("classes", "several")
    for name in ("classes", "several"):
        data = client.post("/classify", json={"input": TEXTS, "model": name}).json()["data"]
        wanted = bertie.pipeline("text-classification", folders[name], top_k=None)(TEXTS)
        for found, scores in zip(data, wanted, strict=True):
            assert found["label"] == scores[0]["label"]
            assert sorted(found["probs"], reverse=True) == pytest.approx([one["score"] for one in scores], abs=1e-6)
            assert found["num_classes"] == len(scores)
            if name == "several":
                assert found["thresholds"] == {"a": 0.5, "b": 0.5}
                assert set(found["labels"]) == {one["label"] for one in scores if one["score"] >= 0.5}
            else:
                assert not found.keys() & {"labels", "thresholds"}


def test_pooling(served: Serve, folders: dict[str, Path]) -> None:
    client = served("vectors")
    vectors = client.post("/pooling", json={"input": TEXTS}).json()["data"]
    same = client.post("/v1/embeddings", json={"input": TEXTS}).json()["data"]
    assert [one["data"] for one in vectors] == [one["embedding"] for one in same]
    tokens = client.post("/pooling", json={"input": TEXTS, "task": "token_embed"}).json()
    states = bertie.pipeline("feature-extraction", folders["vectors"])(TEXTS)
    for found, wanted in zip(tokens["data"], states, strict=True):
        np.testing.assert_allclose(found["data"], wanted[0], atol=1e-5)
    assert tokens["usage"]["total_tokens"] == sum(len(one[0]) for one in states)
    refused = client.post("/pooling", json={"input": [1, 2]})
    assert "check_embedding_ctx_length=False" in refused.json()["error"]["message"]
