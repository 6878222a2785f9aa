"""The routes of text-embeddings-inference: formats, error messages, and the numbers of bertie's pipelines."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import bertie
from bertie.serving.served_model import ServedModel
from bertie.serving.server_process import make_service
from bertie.serving.service import Limits

Serve = Callable[..., Any]
TEXTS = ["A cat sat on the mat.", "It rained.", "Why did she go?"]


def normal(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_embed(served: Serve, folders: dict[str, Path]) -> None:
    client = served("vectors")
    vectors = bertie.pipeline("embed", folders["vectors"])(TEXTS)
    reply = client.post("/embed", json={"inputs": TEXTS})
    assert reply.status_code == 200
    np.testing.assert_allclose(reply.json(), normal(vectors), atol=1e-6)
    for header in ("x-compute-type", "x-compute-time", "x-queue-time", "x-inference-time", "x-request-id"):
        assert reply.headers[header]
    assert (reply.headers["x-truncated-tokens"], reply.headers["x-compute-type"]) == ("0", "cpu")
    assert reply.headers["x-compute-characters"] == str(len("".join(TEXTS)))
    assert client.post("/invocations", json={"inputs": TEXTS}).json() == client.post("/", json={"inputs": TEXTS}).json()
    assert client.post("/", json={"inputs": TEXTS}).json() == reply.json()
    one = client.post("/embed", json={"inputs": TEXTS[0], "normalize": False, "dimensions": 5}).json()
    np.testing.assert_allclose(one, vectors[:1, :5], atol=1e-6)
    raw = client.post("/embed", json={"inputs": TEXTS}, headers={"accept": "Application/Octet-Stream, */*;q=0.1"})
    assert raw.headers["x-shape"] == "3,16"
    np.testing.assert_allclose(np.frombuffer(raw.content, "<f4").reshape(3, 16), normal(vectors), atol=1e-6)


def test_all_bodies_share_a_limit_and_small_ones_do_not_count(served: Serve) -> None:
    client = served("vectors", bodies=300_000, body=300_000)
    large, small = {"inputs": "a " * 100_000}, {"inputs": "a"}
    assert client.post("/embed", json=large).status_code == 200
    assert client.post("/embed", json=large | {"dimensions": 0}).status_code == 422
    assert client.service.body_bytes == 0, "released"
    client.service.body_bytes = 150_000  # other requests are being read or answered
    refused = client.post("/embed", json=large)
    assert (refused.status_code, refused.json()["error_type"]) == (429, "Overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert client.post("/embed", json=small).status_code == 200
    assert client.service.body_bytes == 150_000
    client = served("vectors", bodies=100_000, body=300_000)
    assert client.post("/embed", json=large).status_code == 200, "one that is allowed has room alone"


@pytest.mark.parametrize(
    "accept",
    [
        "application/json, application/octet-stream",
        "application/octet-stream;q=0",
        "x-application/octet-stream",
        "a;q=",
    ],
)
def test_json_unless_bytes_are_preferred(served: Serve, accept: str) -> None:
    reply = served("vectors").post("/embed", json={"inputs": "a"}, headers={"accept": accept})
    assert np.shape(reply.json()) == (1, 16)


def test_token_ids_as_inputs(served: Serve, folders: dict[str, Path]) -> None:
    client = served("vectors")
    ids = bertie.AutoTokenizer.from_pretrained(folders["vectors"])(TEXTS)["input_ids"]
    by_text = client.post("/embed", json={"inputs": TEXTS}).json()
    assert client.post("/embed", json={"inputs": ids}).json() == by_text
    assert client.post("/embed", json={"inputs": ids[0]}).json() == by_text[:1]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "says"),
    [
        ("embed", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("embed", {"inputs": ""}, 400, "Empty", "Input validation error: `inputs` cannot be empty"),
        ("embed", {"inputs": ["a", [1]]}, 422, "Validation", "mixes texts and ids"),
        ("embed", {"inputs": None}, 422, "Validation", "$.inputs"),
        ("embed", {"inputs": [[[1]]]}, 422, "Validation", "$.inputs"),
        ("embed", {"inputs": ["a", None]}, 422, "Validation", "$.inputs[1]"),
        ("embed", {"inputs": [[2**70]]}, 422, "Validation", "has the id 1180591620717411303424"),
        ("embed", {"inputs": [[-1]]}, 422, "Validation", "has the id -1"),
        ("embed", {}, 422, "Validation", "`inputs`"),
        ("embed", {"inputs": "a", "dimensions": 0}, 422, "Validation", "`dimensions` should be positive"),
        ("embed", {"inputs": "a", "dimensions": 17}, 422, "Validation", "smaller than the maximum embedding"),
        ("embed", {"inputs": "a", "dimensions": 2.5}, 422, "Validation", "$.dimensions"),
        ("embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation", "'up'"),
        ("embed", {"inputs": "a", "prompt_name": "query"}, 422, "Validation", "no prompt 'query'"),
        ("embed", {"inputs": "a", "model": "other"}, 404, "Validation", "no model 'other'; there is 'vectors'"),
        ("embed", {"inputs": "a " * 70, "truncate": False}, 422, "Validation", "less than 64 tokens. Given: 72"),
        ("embed", {"inputs": ["a"] * 9}, 422, "Validation", "batch size 9 > maximum allowed batch size 8"),
        ("predict", {"inputs": "a"}, 424, "Backend", "model is not a classifier model"),
        ("rerank", {"query": "q", "texts": []}, 400, "Empty", "`texts` cannot be empty"),
        ("rerank", {"query": "q", "texts": ["a"]}, 424, "Backend", "model is not a re-ranker model"),
        ("decode", {"ids": [30522]}, 422, "Validation", "`ids` contains 30522; the model's vocabulary has 0 to 30521."),
        ("tokenize", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("tokenize", {"inputs": ["a"] * 9}, 422, "Validation", "batch size 9 > maximum allowed batch size 8"),
        ("tokenize", {"inputs": "a " * 100_000}, 422, "Validation", "100002 tokens; 100000 are allowed"),
        ("decode", {"ids": [7] * 100_001}, 422, "Validation", "100001 tokens; 100000 are allowed"),
    ],
)
def test_refusals(served: Serve, path: str, body: Any, status: int, kind: str, says: str) -> None:
    reply = served("vectors", inputs=8).post(f"/{path}", json=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["error_type"] == kind
    assert says in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"inputs": NaN}', 400),
        (b'{"inputs": "a"} trailing', 400),
        (b'{"inputs": "\xff"}', 400),
        (b'{"inputs": "\\ud800"}', 400),
        (b"[" * 100_000, 422),
        (b'{"inputs": ' + b"[" * 100_000, 422),
        (b'{"inputs": "' + b"a" * 1000 + b'"}', 413),
        (b"[1]", 422),
    ],
)
def test_malformed_bodies(served: Serve, body: bytes, status: int) -> None:
    reply = served("vectors", body=900 if status == 413 else 200_000).post("/embed", content=body)
    assert reply.status_code == status, reply.text
    assert reply.json()["error_type"] == "Validation"


def test_compressed_bodies_paths_and_methods(served: Serve) -> None:
    client = served("vectors")
    assert client.post("/embed", json={"inputs": "a"}, headers={"content-encoding": "gzip"}).status_code == 415
    assert client.get("/nothing").json()["error"] == "There is nothing at this path."
    reply = client.get("/embed")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"] == "This path takes POST, not GET."
    assert client.options("/info").headers["allow"] == "GET, HEAD"
    assert client.head("/health").status_code == 200
    behind = TestClient(client.app, root_path="/models/")  # behind a proxy that keeps the path prefix
    for path in ("/embed", "/embed/", "/models/embed", "/models", "/"):
        assert behind.post(path, json={"inputs": "a"}, follow_redirects=False).status_code == 200, path
    assert behind.post("/modelsembed", json={"inputs": "a"}).status_code == 404
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/embed"):
        pass
    assert client.post("/embed", json={"inputs": "a"}, headers={"x-request-timeout": "-1"}).status_code == 400


def test_truncated_tokens_are_reported(served: Serve) -> None:
    reply = served("vectors").post("/embed", json={"inputs": ["word " * 100, "a"], "truncation_direction": "Left"})
    assert reply.status_code == 200
    assert reply.headers["x-truncated-tokens"] == "38"


def test_embed_all(served: Serve, folders: dict[str, Path]) -> None:
    reply = served("vectors").post("/embed_all", json={"inputs": TEXTS}).json()
    states = bertie.pipeline("feature-extraction", folders["vectors"])(TEXTS)
    for found, wanted in zip(reply, states, strict=True):
        np.testing.assert_allclose(found, wanted[0], atol=1e-5)
    client = served("vectors", numbers=100)
    assert "numbers; 100 are allowed" in client.post("/embed_all", json={"inputs": TEXTS}).json()["error"]


def test_embed_sparse_is_splade(served: Serve, folders: dict[str, Path]) -> None:
    client = served("words", "vectors")
    reply = client.post("/embed_sparse", json={"inputs": TEXTS}).json()
    words = bertie.AutoTokenizer.from_pretrained(folders["words"])
    model = bertie.BertForMaskedLM.from_pretrained(folders["words"]).eval()
    for text, found in zip(TEXTS, reply, strict=True):
        with torch.inference_mode():
            logits = model(**words(text, return_tensors="pt")).logits[0]
        weights = torch.log1p(torch.relu(logits)).amax(dim=0)  # equation 6 of SPLADE v2
        assert [one["index"] for one in found] == weights.nonzero()[:, 0].tolist()
        np.testing.assert_allclose([one["value"] for one in found], weights[weights > 0].numpy(), atol=1e-5)
    refused = client.post("/embed_sparse", json={"inputs": "a", "model": "vectors"})
    assert refused.status_code == 424
    assert refused.json()["error"] == "model is not a sparse embedding model; 'words' can do this: name one as `model`"


def test_errors_name_the_models_with_the_task(served: Serve) -> None:
    client = served("vectors", "classes", "several")
    refused = client.post("/predict", json={"inputs": "a", "model": "vectors"}).json()["error"]
    assert refused == "model is not a classifier model; 'classes', 'several' can do this: name one as `model`"
    nobody = client.post("/rerank", json={"query": "a", "texts": ["b"]}).json()["error"]
    assert nobody == "model is not a re-ranker model; no model served here can do this: 'vectors', 'classes', 'several'"


def test_predict(served: Serve, folders: dict[str, Path]) -> None:
    client = served("classes", "several", "score")
    scores = bertie.pipeline("text-classification", folders["classes"], top_k=None)
    pair = ("A cat sat.", "It slept.")
    reply = client.post("/predict", json={"inputs": [["It rained."], list(pair)]}).json()
    for found, wanted in zip(reply, scores(["It rained.", pair]), strict=True):
        assert [one["label"] for one in found] == [one["label"] for one in wanted]
        assert [one["score"] for one in found] == pytest.approx([one["score"] for one in wanted], abs=1e-6)
    assert client.post("/predict", json={"inputs": list(pair)}).json() == reply[1]
    assert client.post("/predict", json={"inputs": "It rained."}).json() == reply[0]
    raw = client.post("/predict", json={"inputs": "It rained.", "raw_scores": True}).json()
    assert sum(one["score"] for one in raw) != pytest.approx(1)
    assert client.post("/predict", json={"inputs": ["a", "b", "c"]}).status_code == 422
    # multi-label: each label has its own probability
    several = client.post("/predict", json={"inputs": "It rained.", "model": "several"}).json()
    wanted = bertie.pipeline("text-classification", folders["several"], top_k=None)(["It rained."])[0]
    assert [one["score"] for one in several] == pytest.approx([one["score"] for one in wanted], abs=1e-6)
    assert len(client.post("/predict", json={"inputs": "a", "model": "score"}).json()) == 1


def test_rerank_and_similarity(served: Serve, folders: dict[str, Path]) -> None:
    client = served("score", "vectors")
    ranked = client.post("/rerank", json={"query": "a cat", "texts": TEXTS, "return_text": True}).json()
    wanted = bertie.pipeline("reranking", folders["score"])("a cat", TEXTS)
    assert [(one["index"], one["text"]) for one in ranked] == [(one["index"], one["text"]) for one in wanted]
    assert [one["score"] for one in ranked] == pytest.approx([one["score"] for one in wanted], abs=1e-6)
    assert set(client.post("/rerank", json={"query": "a", "texts": ["b"]}).json()[0]) == {"index", "score"}
    vectors = normal(bertie.pipeline("embed", folders["vectors"])(TEXTS))
    body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS[1:]}, "parameters": {"truncate": True}}
    assert client.post("/similarity", json=body).json() == pytest.approx((vectors[1:] @ vectors[0]).tolist(), abs=1e-5)


def test_tokenize_and_decode(served: Serve) -> None:
    client = served("vectors")
    text = "Unaffable  Café [SEP]"
    (tokens,) = client.post("/tokenize", json={"inputs": text}).json()
    assert (tokens[0]["text"], tokens[0]["special"], tokens[0]["start"]) == ("[CLS]", True, None)
    assert all(one["text"] == text[one["start"] : one["stop"]] for one in tokens[1:-1])
    assert sum(one["special"] for one in tokens) == 2
    assert [one["id"] for one in tokens].count(tokens[-1]["id"]) == 1  # special tokens in user input are text
    (bare,) = client.post("/tokenize", json={"inputs": [text], "add_special_tokens": False}).json()
    assert bare == tokens[1:-1]
    ids = [one["id"] for one in tokens]
    assert client.post("/decode", json={"ids": ids}).json() == client.post("/decode", json={"ids": [ids]}).json()
    assert "[CLS]" in client.post("/decode", json={"ids": ids, "skip_special_tokens": False}).json()[0]


def test_prompts_come_from_the_model_that_answers(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["vectors"], tmp_path / "prompted")
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}}')
    models = [ServedModel.open(str(each)) for each in (folders["vectors"], folder)]
    with TestClient(make_service(models, Limits(), ())[1]) as client:

        def reply(path: str, **body: Any) -> Any:
            return client.post(path, json={"model": "prompted", **body}).json()

        for path in ("/embed", "/embed_all", "/tokenize"):
            assert reply(path, inputs=TEXTS[0], prompt_name="query") == reply(path, inputs=f"query: {TEXTS[0]}")
            assert "no prompt 'query'" in reply(path, inputs=TEXTS, prompt_name="query", model="vectors")["error"]
        (first,), (second,) = (reply("/embed", inputs=f"query: {text}") for text in TEXTS[:2])
        asked = {"prompt_name": "query", "model": "prompted"}
        body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS[1:2]}, "parameters": asked}
        cosines = client.post("/similarity", json=body).json()
        assert cosines == pytest.approx([np.dot(first, second)], abs=1e-5)


def test_info_describes_the_main_task(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["vectors"], tmp_path / "short")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32}')
    model = ServedModel.open(str(folder))
    with TestClient(make_service([model], Limits(), ())[1]) as client:
        info = client.get("/info").json()
    assert (info["max_input_length"], info["models"][0]["max_input_length"]) == (32, 32)
    assert model.task(model.tasks[1]).limit == 64


def test_info_health_and_metrics(served: Serve) -> None:
    client = served("score", "vectors", keys=("secret",))
    assert client.get("/info").status_code == 401
    info = client.get("/info", headers={"authorization": "Bearer secret"}).json()
    assert list(info["model_type"]) == ["reranker"]
    assert info["max_input_length"] == 64
    assert [one["name"] for one in info["models"]] == ["score", "vectors"]
    assert (client.get("/health").status_code, client.get("/health").content) == (200, b"")
    client.post("/embed", json={"inputs": TEXTS}, headers={"authorization": "Bearer secret"})
    lines = client.get("/metrics").text.splitlines()
    assert "te_embed_count 3.0" in lines
    assert 'te_request_success{method="batch"} 1.0' in lines
    assert any(line.startswith("te_request_queue_duration_bucket") for line in lines)
    client.service.draining = True
    health = client.get("/health")
    assert (health.status_code, health.json()) == (503, {"error": "unhealthy", "error_type": "Unhealthy"})


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", "Basic secret", "Bearer secret2", "Bearer " + "x" * 5000]
)
def test_wrong_keys(served: Serve, sent: str) -> None:
    client = served("vectors", keys=("secret", "other"))
    reply = client.post("/embed", json={"inputs": "a"}, headers={"authorization": sent})
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert "secret" not in reply.text
    assert client.post("/embed", json={"inputs": "a"}, headers={"authorization": "bearer other"}).status_code == 200


def test_too_many_concurrent_requests_are_refused(served: Serve) -> None:
    client = served("vectors", concurrent=1)
    with client.service.admitted():
        reply = client.post("/embed", json={"inputs": "a"})
    assert (reply.status_code, reply.json()["error_type"]) == (429, "Overloaded")
    assert int(reply.headers["retry-after"]) >= 1
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_a_query_counts_once_for_each_text(served: Serve) -> None:
    reply = served("score", characters=1_000).post("/rerank", json={"query": "q" * 90, "texts": ["a"] * 11})
    assert (reply.status_code, reply.json()["error"]) == (422, "The inputs have 1001 characters; 1000 are allowed.")


def test_a_deadline_cancels_the_request(served: Serve) -> None:
    client = served("vectors")
    reply = client.post("/embed", json={"inputs": ["a b c"] * 2000}, headers={"x-request-timeout": "0.001"})
    assert reply.status_code == 504
    assert "longer than 0.001 seconds" in reply.json()["error"]
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_internal_errors_are_not_disclosed(served: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = served("vectors")
    client.service.models["vectors"].explain = lambda: 1 / 0
    reply = client.get("/info")
    assert (reply.status_code, reply.json()["error"]) == (
        424,
        "The request failed; the reason is in the server's log.",
    )
    assert "division by zero" in caplog.text
