"""bertie.SentenceTransformer against sentence-transformers' own, if installed, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie

TEXTS = [
    "The boiler is leaking again.",
    "Lunch is at noon.",
    "The heating makes a strange noise, and nobody has come to look at it.",
]
CALLS: list[dict[str, Any]] = [
    {},
    {"normalize_embeddings": True, "truncate_dim": 64},
    {"prompt": "passage: "},
    {"prompt_name": "query", "batch_size": 2},
    {"precision": "ubinary"},
    {"precision": "binary", "convert_to_tensor": True},
    {"convert_to_tensor": True},
    {"convert_to_numpy": False},
    {"device": "cpu", "show_progress_bar": False},
]


@pytest.fixture(scope="module")
def folder(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 with prompts."""
    made = shutil.copytree(minilm, tmp_path_factory.mktemp("minilm"), dirs_exist_ok=True)
    settings = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}
    (made / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def reference(folder: Path) -> Callable[..., Any]:
    own = pytest.importorskip("sentence_transformers")
    return lambda **options: own.SentenceTransformer(str(folder), device="cpu", **options)


@pytest.fixture(scope="module")
def model(folder: Path) -> bertie.SentenceTransformer:
    return bertie.SentenceTransformer(folder)


def same(found: Any, expected: Any) -> None:
    """Assert that both have the same type, shape and dtype, and close values."""
    assert type(found) is type(expected)
    if isinstance(expected, list):
        found, expected = torch.stack(found), torch.stack(expected)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=2e-6)


def test_encodes_like_the_reference(model: bertie.SentenceTransformer, reference: Callable[..., Any]) -> None:
    own = reference()
    for options in CALLS:
        same(model.encode(TEXTS, **options), own.encode(TEXTS, **options))
        same(model.encode(TEXTS[0], **options), own.encode(TEXTS[0], **options))
    for call in ("encode", "encode_query", "encode_document"):
        for options in ({}, {"prompt_name": None, "prompt": None}, {"prompt_name": "passage"}):
            same(getattr(model, call)(TEXTS, **options), getattr(own, call)(TEXTS, **options))
    assert (model.prompts, model.default_prompt_name) == (own.prompts, own.default_prompt_name)
    assert (model.max_seq_length, model.get_sentence_embedding_dimension()) == (own.max_seq_length, 384)
    model.max_seq_length = own.max_seq_length = 8
    same(model.encode(TEXTS), own.encode(TEXTS))
    ids = model.tokenize(TEXTS)
    assert ids["input_ids"].shape == (3, 8)
    assert torch.equal(ids["input_ids"], own.preprocess(TEXTS)["input_ids"])
    model.max_seq_length = 256


def test_tuples_are_several_texts_and_sentences_is_an_alias(model: bertie.SentenceTransformer) -> None:
    np.testing.assert_array_equal(model.encode((TEXTS[0], TEXTS[1])), model.encode(sentences=TEXTS[:2]))


def test_attributes_can_be_set_later(folder: Path, reference: Callable[..., Any]) -> None:
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings | {"truncate_dim": 64}))
    try:
        model, own = bertie.SentenceTransformer(folder), reference()
    finally:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    assert (model.truncate_dim, model.get_embedding_dimension()) == (64, 64)
    same(model.encode(TEXTS, truncate_dim=100), own.encode(TEXTS, truncate_dim=100))
    for either in (model, own):
        either.truncate_dim = None
        either.prompts = {"corpus": "text: ", "other": "other: "}
        either.default_prompt_name = "other"
    assert model.get_embedding_dimension() == 384
    for call in ("encode", "encode_query", "encode_document"):
        same(getattr(model, call)(TEXTS), getattr(own, call)(TEXTS))
    with pytest.raises(bertie.InputError, match="similarity_fn_name is 'maxsim'; it must be one of 'cosine'"):
        model.similarity_fn_name = "maxsim"


@pytest.mark.parametrize(
    ("name", "matrix", "pairs"),
    [
        ("cosine", [[1.0, 0.6], [0.0, 0.8]], [1.0, 0.8]),
        ("dot", [[2.0, 6.0], [0.0, 4.0]], [2.0, 4.0]),
        ("euclidean", [[-1.0, -4.1231055], [-1.4142135, -4.2426405]], [-1.0, -4.2426405]),
        ("manhattan", [[-1.0, -5.0], [-2.0, -6.0]], [-1.0, -6.0]),
    ],
)
def test_similarities(model: bertie.SentenceTransformer, name: str, matrix: list[Any], pairs: list[float]) -> None:
    ones, others = np.array([[2.0, 0.0], [0.0, 1.0]], np.float32), np.array([[1.0, 0.0], [3.0, 4.0]], np.float32)
    model.similarity_fn_name = name
    np.testing.assert_allclose(model.similarity(ones, others), matrix, rtol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(ones, others), pairs, rtol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(ones[1], others[1]), pairs[1], rtol=1e-6)
    assert np.shape(model.similarity_pairwise(ones[1], others[1])) == ()
    np.testing.assert_allclose(model.similarity(ones[0], list(others)), matrix[:1], rtol=1e-6)
    tensor = model.similarity(list(torch.from_numpy(ones)), others)
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_allclose(tensor, matrix, rtol=1e-6)
    with pytest.raises(bertie.InputError, match="2 first vectors and 1 second ones; give as many of both"):
        model.similarity_pairwise(ones, others[:1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output_value": "token_embeddings"}, "has no output_value='token_embeddings'; keep sentence-transformers'"),
        ({"output_value": None}, "has no output_value=None; keep"),
        ({"pool": {}}, r"has no pool=\{\}; keep"),
        ({"normalise": True}, "has no normalise=True; keep"),
        ({"device": "cuda:1"}, "device is 'cuda:1', but the model is on 'cpu'; name the device when you make it"),
        ({"prompt_name": "title"}, "The model has no prompt 'title'; it has 'query', 'document', 'passage'"),
        ({"precision": "int4"}, "precision is 'int4'"),
    ],
)
def test_unsupported_arguments_are_refused_by_name(
    model: bertie.SentenceTransformer, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(bertie.BertieError, match=sentence):
        model.encode(TEXTS, **options)


def test_bad_constructor_arguments_are_refused(model: bertie.SentenceTransformer, folder: Path) -> None:
    with pytest.raises(bertie.InputTypeError, match=r"SentenceTransformer has no backend='onnx'; keep"):
        bertie.SentenceTransformer(folder, backend="onnx")
    with pytest.raises(bertie.InputError, match="default_prompt_name is 'title'"):
        bertie.SentenceTransformer(folder, default_prompt_name="title")
    with pytest.raises(AttributeError, match="bertie's SentenceTransformer has no 'fit'; keep sentence-transformers'"):
        _ = model.fit  # type: ignore[attr-defined]
    given = bertie.SentenceTransformer(folder, prompts={"query": "?"}, truncate_dim=9, backend="torch")
    assert given.encode_query("a").shape == (9,)
    assert given.get_embedding_dimension() == 9
    np.testing.assert_array_equal(given.encode_query("a"), model.encode("a", prompt="?", truncate_dim=9))
