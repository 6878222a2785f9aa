"""OpenAI's own client, unchanged, against the service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie

Serve = Callable[..., Any]
TEXTS = ["A cat sat on the mat.", "It rained."]


def test_embeddings(served: Serve, folders: dict[str, Path]) -> None:
    client = served("vectors", "classes")
    vectors = bertie.pipeline("embed", folders["vectors"])(TEXTS)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    reply = client.post("/v1/embeddings", json={"input": TEXTS, "model": "vectors", "user": "u"}).json()
    np.testing.assert_allclose([one["embedding"] for one in reply["data"]], vectors, atol=1e-6)
    assert reply["usage"] == {"prompt_tokens": 14, "total_tokens": 14}
    assert (reply["object"], reply["model"], [one["index"] for one in reply["data"]]) == ("list", "vectors", [0, 1])
    cut = client.post("/v1/embeddings", json={"input": ["word " * 100, "a"], "dimensions": 3}).json()
    assert [one.get("truncated") for one in cut["data"]] == [38, None]
    assert np.linalg.norm(cut["data"][0]["embedding"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({"input": [[9906, 1917]], "model": "vectors"}, 400, None, "check_embedding_ctx_length=False"),
        ({"input": [9906, 1917], "model": "vectors"}, 400, None, "check_embedding_ctx_length=False"),
        (
            {"input": "a", "model": "text-embedding-3-small"},
            404,
            "model_not_found",
            "no model 'text-embedding-3-small'",
        ),
        ({"input": "a", "model": "../../etc"}, 404, "model_not_found", "no model"),
        ({"input": "a", "model": "classes"}, 400, None, "model is not an embedding model"),
        ({"input": [""]}, 400, None, "`input` cannot be empty"),
        ({"input": "a", "encoding_format": "hex"}, 400, None, "'hex'"),
    ],
)
def test_refusals(served: Serve, body: Any, status: int, code: str | None, says: str) -> None:
    reply = served("vectors", "classes").post("/v1/embeddings", json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["code"]) == (status, "invalid_request_error", code)
    assert says in error["message"]


def test_models(served: Serve) -> None:
    listed = served("vectors", "classes").get("/v1/models").json()
    assert [one["id"] for one in listed["data"]] == ["vectors", "classes"]
