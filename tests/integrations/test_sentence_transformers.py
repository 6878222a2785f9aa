"""sentence-transformers and `transformers` pipelines give the same results with their encoders on the engine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling

import bertie
from bertie.integrations.packed_forward import STATES

SIZES = {"vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 48, "max_position_embeddings": 64, "initializer_range": 0.2}
TEXTS = ["A cat sat on the mat.", "Why?", "The long road went on and on. " * 6, "He sold 12 boats in Lisbon last May."]


@pytest.fixture(autouse=True)
def own_forwards():
    yield
    bertie.uninstall()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mini: Path) -> Path:
    """A random BERT with the weights of all heads, and a real tokenizer."""
    made = tmp_path_factory.mktemp("models")
    tokenizer = transformers.AutoTokenizer.from_pretrained(mini, model_max_length=64)
    for head in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification"):
        torch.manual_seed(0)
        labels = 1 if head == "ForSequenceClassification" else 3
        config = transformers.BertConfig(**SIZES, num_labels=labels)
        getattr(transformers, f"Bert{head}")(config).save_pretrained(made / head)
        tokenizer.save_pretrained(made / head)
    return made


def embedder(folder: Path, pooling: str = "mean") -> SentenceTransformer:
    base = Transformer(str(folder / "Model"), max_seq_length=64)
    prompts = {"query": "query: ", "document": "passage: "}
    pooled = Pooling(base.get_embedding_dimension(), pooling, include_prompt=False)
    return SentenceTransformer(modules=[base, pooled], prompts=prompts, device="cpu")


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            same(found[name], expected[name])
    elif isinstance(expected, str | None):
        assert found == expected
    else:
        one, other = (np.asarray(each, dtype=np.float64) for each in (found, expected))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
        assert type(found) is type(expected)


def used(model: Any) -> bool:
    return any(STATES[module].snapshot is not None for module in model.modules() if module in STATES)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "weightedmean"])
def test_encode(pooling: str, folder: Path) -> None:
    plain, fast = embedder(folder, pooling), bertie.accelerate(embedder(folder, pooling))
    same(fast.encode(TEXTS, batch_size=3), plain.encode(TEXTS, batch_size=3))
    assert used(fast)


OPTIONS: dict[str, dict[str, Any]] = {
    "a prompt": {"prompt_name": "query"},
    "normalized": {"normalize_embeddings": True, "truncate_dim": 16},
    "a tensor": {"convert_to_tensor": True},
    "a list": {"convert_to_numpy": False},
    "tokens": {"output_value": "token_embeddings"},
    "binary": {"precision": "ubinary"},
    "one text": {"sentences": TEXTS[0]},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_encode(name: str, folder: Path) -> None:
    plain, fast, options = embedder(folder), bertie.accelerate(embedder(folder)), {"sentences": TEXTS, **OPTIONS[name]}
    same(fast.encode(**options), plain.encode(**options))
    same(fast.encode_query(TEXTS), plain.encode_query(TEXTS))


@pytest.mark.slow
def test_other_processes(folder: Path) -> None:
    plain, fast = embedder(folder), bertie.accelerate(embedder(folder))
    with_pool = fast.encode(TEXTS * 3, device=["cpu", "cpu"], chunk_size=3)
    same(with_pool, plain.encode(TEXTS * 3))


def test_cross_and_sparse_encoders(folder: Path) -> None:
    pairs = [(TEXTS[0], text) for text in TEXTS]
    scorers = [CrossEncoder(str(folder / "ForSequenceClassification"), device="cpu") for _ in range(2)]
    bertie.accelerate(scorers[1])
    same(scorers[1].predict(pairs), scorers[0].predict(pairs))
    same(scorers[1].rank(*pairs[0][:1], TEXTS), scorers[0].rank(*pairs[0][:1], TEXTS))
    words = [Transformer(str(folder / "ForMaskedLM"), transformer_task="fill-mask") for _ in range(2)]
    sparse = [SparseEncoder(modules=[each, SpladePooling("max")], device="cpu") for each in words]
    bertie.accelerate(sparse[1])
    one, other = (each.encode(TEXTS).to_dense() for each in sparse)
    torch.testing.assert_close(other, one, rtol=0, atol=1e-5)
    assert used(scorers[1])
    assert used(sparse[1])


PIPELINES = {
    "text-classification": ("ForSequenceClassification", TEXTS),
    "token-classification": ("ForTokenClassification", TEXTS),
    "fill-mask": ("ForMaskedLM", ["A cat sat on the [MASK].", "[MASK]?"]),
}


@pytest.mark.parametrize("task", PIPELINES)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_pipelines(task: str, batch_size: int, folder: Path) -> None:
    head, texts = PIPELINES[task]
    pipe = transformers.pipeline(task, str(folder / head), device="cpu")
    expected = pipe(texts, batch_size=batch_size)
    assert bertie.accelerate(pipe) is pipe
    same(pipe(texts, batch_size=batch_size), expected)
    assert used(pipe.model)


def test_features_of_tokens(folder: Path) -> None:
    pipe = transformers.pipeline("feature-extraction", str(folder / "Model"), device="cpu")
    expected = pipe(TEXTS)
    bertie.install()
    same(pipe(TEXTS), expected)
    assert used(pipe.model)
