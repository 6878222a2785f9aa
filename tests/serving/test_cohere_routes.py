"""Cohere's routes and those modelled on them: types of vectors, order of documents, scores of pairs."""

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie

Serve = Callable[..., Any]
TEXTS = ["A cat sat on the mat.", "It rained.", "Why did she go?"]


def test_embed_in_every_type(served: Serve, folders: dict[str, Path]) -> None:
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    body = {"model": "vectors", "texts": TEXTS, "input_type": "search_query", "embedding_types": kinds}
    reply = served("vectors").post("/v2/embed", json=body).json()
    vectors = bertie.pipeline("embed", folders["vectors"])(TEXTS)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = reply["embeddings"]
    np.testing.assert_allclose(found["float"], vectors, atol=1e-6)
    np.testing.assert_array_equal(
        [np.frombuffer(base64.b64decode(one), "<f4") for one in found["base64"]], np.float32(found["float"])
    )
    int8 = np.array(found["int8"])
    assert int8.min() >= -128
    assert int8.max() <= 127
    assert all(np.corrcoef(int8[row], vectors[row])[0, 1] > 0.99 for row in range(3))
    np.testing.assert_array_equal(np.array(found["uint8"]) - 128, int8)
    np.testing.assert_array_equal(np.array(found["ubinary"]) - 128, found["binary"])
    np.testing.assert_array_equal(np.unpackbits(np.uint8(found["ubinary"]), axis=1), vectors > 0)
    assert reply["meta"]["billed_units"]["input_tokens"] > 9
    assert "warnings" not in reply["meta"]


def test_embed_truncates_as_requested(served: Serve) -> None:
    client = served("vectors")

    def embed(truncate: str | None) -> Any:
        texts = ["first " + "word " * 100, "word " * 100]
        return client.post("/v2/embed", json={"texts": texts, "truncate": truncate, "output_dimension": 8})

    assert embed(None).json()["embeddings"] == embed("END").json()["embeddings"]  # as LangChain sends it
    end, start = embed("END").json()["embeddings"]["float"], embed("START").json()["embeddings"]["float"]
    assert end[1] == start[1]
    assert start[0] == pytest.approx(start[1]), "the first word is cut off"
    assert end[0] != pytest.approx(end[1])
    assert embed("END").json()["meta"]["warnings"] == ["2 of 2 texts were too long and were truncated."]
    refused = embed("NONE")
    assert (refused.status_code, list(refused.json())) == (400, ["message"])


def test_rerank_and_score(served: Serve, folders: dict[str, Path]) -> None:
    client = served("score", "vectors")
    wanted = bertie.pipeline("reranking", folders["score"])("a cat", TEXTS)
    body = {"query": "a cat", "documents": [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2]], "top_n": 2, "model": "score"}
    cohere = client.post("/v2/rerank", json=body).json()
    others = client.post("/v1/rerank", json=body | {"return_documents": True}).json()
    assert [one["index"] for one in cohere["results"]] == [one["index"] for one in wanted[:2]]
    assert [one["relevance_score"] for one in cohere["results"]] == pytest.approx(
        [one["score"] for one in wanted[:2]], abs=1e-6
    )
    assert [one["document"]["text"] for one in others["results"]] == [one["text"] for one in wanted[:2]]
    assert others["usage"]["total_tokens"] > 9
    scores = client.post("/score", json={"text_1": "a cat", "text_2": TEXTS}).json()["data"]
    in_order = sorted(wanted, key=lambda one: one["index"])
    assert [one["score"] for one in scores] == pytest.approx([one["score"] for one in in_order], abs=1e-6)
    zipped = client.post("/v1/score", json={"queries": ["a cat"] * 3, "documents": TEXTS}).json()["data"]
    assert zipped == scores


def test_rerank_reads_max_tokens_per_doc(served: Serve) -> None:
    client = served("score")

    def rank(**body: Any) -> tuple[list[float], Any]:
        reply = client.post("/v2/rerank", json={"query": "a cat", "return_documents": True, **body})
        ranked = sorted(reply.json()["results"], key=lambda one: one["index"])
        assert [one["document"]["text"] for one in ranked] == body["documents"], "whole, as they were sent"
        warnings = reply.json()["meta"].get("warnings")
        return [one["relevance_score"] for one in ranked], (warnings, reply.headers["x-truncated-tokens"])

    cut, told = rank(documents=["Unaffable cats [SEP] purr.", "It rained."], max_tokens_per_doc=3)
    assert told == (["1 of 2 texts were too long and were truncated."], "7")
    assert cut == rank(documents=["Unaffable", "It rained."])[0]
    for enough in (4_096, sys.maxsize, 1 << 70):
        assert rank(documents=TEXTS, max_tokens_per_doc=enough) == rank(documents=TEXTS)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v2/embed", {"texts": []}, 400, "`texts` cannot be empty"),
        ("/v2/embed", {"inputs": [{"content": [{"type": "image_url"}]}]}, 400, "a part that is not text"),
        ("/v2/embed", {"texts": ["a"], "embedding_types": ["binary"], "output_dimension": 9}, 400, "multiple of 8"),
        ("/v2/embed", {"texts": ["a"], "output_dimension": 0}, 400, "`output_dimension` should be positive"),
        ("/v2/embed", {"texts": ["a"], "output_dimension": 17}, 400, "`output_dimension` should be smaller"),
        ("/v2/embed", {"texts": ["a"], "model": "embed-v4.0"}, 404, "no model 'embed-v4.0'"),
        ("/v2/rerank", {"query": "a", "documents": [{}]}, 400, "neither a text nor an object"),
        ("/v2/rerank", {"query": "", "documents": ["a"]}, 400, "`query` cannot be empty"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 0}, 400, "`top_n` is 0"),
        ("/v2/rerank", {"query": "a", "documents": ["b"], "max_tokens_per_doc": 0}, 400, "`max_tokens_per_doc` is 0"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, 400, "2 queries and 3 documents"),
        ("/score", {"text_1": "a"}, 400, "Give `text_1` and `text_2`"),
    ],
)
def test_refusals(served: Serve, path: str, body: Any, status: int, says: str) -> None:
    reply = served("score", "vectors").post(path, json=body)
    assert reply.status_code == status
    assert says in reply.json()["message"]
