"""Existing clients, unchanged, against a real process. Those with many dependencies are slow tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from tests.serving.conftest import Process

import bertie

TEXTS = ["A cat sat on the mat.", "It rained.", "Why did she go?"]


@pytest.fixture(scope="module")
def running(folders: dict[str, Path]) -> Iterator[Process]:
    with ExitStack() as stack:
        begun = Process(f"v={folders['vectors']}", f"score={folders['score']}", "--api-key", "k", "--no-log-requests")
        stack.callback(begun.process.kill)
        yield begun


@pytest.fixture(scope="module")
def vectors(folders: dict[str, Path]) -> np.ndarray:
    return bertie.pipeline("embed", folders["vectors"], normalize=True)(TEXTS)


def test_cohere(running: Process, vectors: np.ndarray, folders: dict[str, Path]) -> None:
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="k", base_url=running.url)
    found = client.embed(
        texts=TEXTS, model="v", input_type="search_document", embedding_types=["float", "int8"], output_dimension=8
    ).embeddings
    shorter = vectors[:, :8] / np.linalg.norm(vectors[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(found.float_ if hasattr(found, "float_") else found.float, shorter, atol=1e-6)
    assert np.abs(found.int8).max() <= 128
    ranked = client.rerank(model="score", query="a cat", documents=TEXTS, top_n=2).results
    wanted = bertie.pipeline("reranking", folders["score"])("a cat", TEXTS)
    assert [one.index for one in ranked] == [one["index"] for one in wanted[:2]]
    first = cohere.Client(api_key="k", base_url=running.url)
    plain = first.embed(texts=TEXTS, model="v", input_type="search_query").embeddings
    np.testing.assert_allclose(plain, vectors, atol=1e-6)
    assert first.rerank(model="score", query="a cat", documents=TEXTS).results[0].index == wanted[0]["index"]
    with pytest.raises(cohere.errors.UnauthorizedError):
        cohere.ClientV2(api_key="no", base_url=running.url).embed(texts=["a"], model="v", input_type="clustering")


@pytest.mark.slow
def test_langchain_openai(running: Process, vectors: np.ndarray) -> None:
    langchain = pytest.importorskip("langchain_openai")
    given = {"base_url": f"{running.url}/v1", "api_key": "k", "model": "v"}
    made = langchain.OpenAIEmbeddings(**given, check_embedding_ctx_length=False)
    np.testing.assert_allclose(made.embed_documents(TEXTS), vectors, atol=1e-6)
    np.testing.assert_allclose(made.embed_query(TEXTS[1]), vectors[1], atol=1e-6)
    with pytest.raises(Exception, match="check_embedding_ctx_length=False"):  # what it sends without this option
        made.client.create(input=[[9906, 1917]], model="v")


@pytest.mark.slow
def test_langchain_cohere(running: Process, vectors: np.ndarray) -> None:
    langchain = pytest.importorskip("langchain_cohere")
    made = langchain.CohereEmbeddings(base_url=running.url, cohere_api_key="k", model="v")
    np.testing.assert_allclose(made.embed_documents(TEXTS), vectors, atol=1e-6)
    ranker = langchain.CohereRerank(base_url=running.url, cohere_api_key="k", model="score", top_n=2)
    assert len(ranker.rerank(TEXTS, "a cat")) == 2


@pytest.mark.slow
def test_langchain_huggingface(running: Process, vectors: np.ndarray) -> None:
    langchain = pytest.importorskip("langchain_huggingface")
    # it takes no URL itself
    made = langchain.HuggingFaceEndpointEmbeddings(model="v", huggingfacehub_api_token="k")
    made.client = pytest.importorskip("huggingface_hub").InferenceClient(
        running.url, token="k"
    )  # it takes no URL itself
    np.testing.assert_allclose(made.embed_documents(TEXTS), vectors, atol=1e-6)


@pytest.mark.slow
def test_llama_index(running: Process, vectors: np.ndarray) -> None:
    openai = pytest.importorskip("llama_index.embeddings.openai_like")
    made = openai.OpenAILikeEmbedding(model_name="v", api_base=f"{running.url}/v1", api_key="k")
    np.testing.assert_allclose(made.get_text_embedding_batch(TEXTS), vectors, atol=1e-6)
    tei = pytest.importorskip("llama_index.embeddings.text_embeddings_inference")
    made = tei.TextEmbeddingsInference(model_name="v", base_url=running.url, auth_token="k")
    np.testing.assert_allclose(made.get_text_embedding_batch(TEXTS), vectors, atol=1e-6)
