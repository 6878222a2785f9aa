"""Folders of trained embedding models: bertie and sentence-transformers compute the same vectors from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from computing import loss_of, of_module
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as st

import bertie
from bertie.errors import InputTypeError
from bertie.layers.vector_modules import as_modules
from bertie.tasks.embed import Embed
from bertie.tasks.registry import find
from bertie.tasks.sentence_transformers_config import Layer, Recipe, read_recipe
from bertie.tasks.sentence_transformers_writing import write_recipe
from bertie.tasks.similarity import Similarity
from bertie.tasks.vector_layers import load_layers


def trained(row: Any, pipe: Any) -> Similarity:
    task: Similarity = row.load_trainable().from_inference_task(pipe.codec)
    return task


def test_the_training_task_is_made_from_the_inference_task(minilm: Path) -> None:
    pipe, row = bertie.pipeline("embed", minilm, device="cpu"), find("embedding")
    task = trained(row, pipe)
    assert (task.recipe, task.limit, type(task.inference_task())) == (pipe.codec.recipe, 256, Embed)
    assert task.inference_task() == pipe.codec
    with pytest.raises(InputTypeError, match="MultipleChoice cannot learn for Embed"):
        find("choose").load_trainable().from_inference_task(pipe.codec)


def save(folder: Path, pipe: Any, task: Similarity) -> Path:
    pipe.model.save_pretrained(folder)
    pipe.tokenizer.save_pretrained(folder)
    task.save(folder)
    return folder


TEXTS = ["A dog barks.", "word " * 100, "The cat sat on the mat.", ""]


def same_vectors(folder: Path, **call: Any) -> np.ndarray:
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, **call)
    found = bertie.pipeline("embed", folder, device="cpu")(TEXTS, **call)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    return found


def test_a_trained_plain_bert(tiny: Callable[..., Path], tmp_path: Path) -> None:
    pipe = of_module("embed", tiny())
    assert pipe.codec.recipe == Recipe(modes=("mean",))
    task = trained(find("embedding"), pipe).with_options(max_length=20).on_train_start(pipe.model, [None])
    vectors = same_vectors(save(tmp_path / "out", pipe, task))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    normalize = Layer("Normalize", tmp_path / "out" / "2_Normalize")
    assert read_recipe(tmp_path / "out") == Recipe(layers=(normalize,), max_length=20, is_stated=True)


@pytest.mark.parametrize(
    ("pooling", "more", "settings", "call"),
    [
        ("cls", [], {}, {}),
        (("cls", "mean", "max"), [st.Normalize], {}, {}),
        (("max", "cls"), [], {}, {}),
        ("mean", [lambda: st.Dense(32, 12), st.Normalize], {}, {}),
        ("mean", [st.Normalize, lambda: st.Dropout(0.3), lambda: st.LayerNorm(32)], {"truncate_dim": 20}, {}),
        ("mean", [], {"prompts": {"query": "find this: "}}, {"prompt_name": "query"}),
    ],
    ids=["cls", "joined", "other order", "dense", "all", "prompt"],
)
def test_the_models_own_recipe_is_kept(
    pooling: Any, more: list[Any], settings: Any, call: Any, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    modules = [st.Transformer(str(tiny())), st.Pooling(32, pooling_mode=pooling), *(make() for make in more)]
    SentenceTransformer(modules=modules, device="cpu", **settings).save(str(tmp_path / "in"))
    pipe = of_module("embed", tmp_path / "in")
    task = trained(find("embed"), pipe).on_train_start(pipe.model, [None])
    assert task.recipe == pipe.codec.recipe
    out = save(tmp_path / "out", pipe, task)
    np.testing.assert_allclose(same_vectors(out, **call), pipe(TEXTS, **call), atol=1e-6)
    write_recipe(out, read_recipe(out), 32)  # onto itself
    same_vectors(out, **call)


def test_dense_layers_are_kept(tiny: Callable[..., Path], tmp_path: Path) -> None:
    modules = [st.Transformer(str(tiny())), st.Pooling(32), st.Dense(32, 12)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "in"))
    recipe = read_recipe(tmp_path / "in")
    layers = as_modules(load_layers(recipe.layers), torch.device("cpu"))
    assert not any(parameter.requires_grad for layer in layers for parameter in layer.parameters())
    pipe = of_module("embed", tmp_path / "in")
    task = trained(find("embed"), pipe)
    features = task.encode([("a dog", "a cat"), ("snow", "rain")])
    pipe.model.train()
    loss_of(task, pipe.model, features).backward()
    assert pipe.model.embeddings.word_embeddings.weight.grad.abs().sum() > 0
