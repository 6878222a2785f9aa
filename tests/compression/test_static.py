"""bertie.distil_static: the table's formula, a folder that sentence-transformers reads alike, and errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sentence_transformers import SentenceTransformer

import bertie
from bertie.compression.static import principal, vectors_of_tokens, weighted
from bertie.engine import Engine
from bertie.errors import CheckpointError, InputError
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.sentence_transformers_writing import write_recipe

WORDS = [
    "[PAD]",
    "[unused0]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghij",
    *(f"##{letter}" for letter in "klmnop"),
]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teacher")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    bertie.BertModel(bertie.BertConfig(vocab_size=len(WORDS), **shape)).save_pretrained(folder)
    bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    write_recipe(folder, Recipe(), 16)
    return folder


@pytest.fixture(scope="module")
def table(teacher: Path) -> Path:
    return bertie.distil_static(teacher, teacher.parent / "table", width=8)


def test_the_table_is_that_of_model2vec(teacher: Path, table: Path) -> None:
    model = bertie.BertModel.from_pretrained(teacher)
    used = [number for number, word in enumerate(WORDS) if word not in ("[unused0]", "[CLS]", "[SEP]", "[MASK]")]
    rows = torch.tensor([[3, number, 4] for number in used])
    with torch.no_grad():
        vectors = model(rows).last_hidden_state.mean(dim=1).numpy()
    stored = load_file(table / "model.safetensors")["embedding.weight"]
    assert (np.delete(stored, used, axis=0) == 0).all()
    found = stored[used]
    _, _, directions = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    expected = (vectors - vectors.mean(axis=0)) @ directions[:8].T
    ranks = 1 / np.arange(2, len(used) + 2)
    expected *= (1e-4 / (1e-4 + ranks / ranks.sum()))[:, None]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-7)
    assert np.allclose(weighted(principal(vectors, 8)), found, atol=1e-7)


def test_sentence_transformers_gives_the_same_vectors(table: Path) -> None:
    texts = ["a b ak", "c", "d e f g h i j " * 200, "b a ak z"]
    pipe = bertie.pipeline("embed", table)
    assert isinstance(pipe.model, Engine)
    assert "without blocks" in pipe.explain()
    found = pipe(texts)
    np.testing.assert_allclose(found, SentenceTransformer(str(table), device="cpu").encode(texts), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (pipe("") == 0).all()
    with pytest.raises(InputError, match="device is 'cuda', but a StaticEmbedding"):
        bertie.pipeline("embed", table, device="cuda")


def test_tables_under_the_name_of_model2vec(table: Path, tmp_path: Path) -> None:
    for path in table.rglob("*.json"):
        (tmp_path / path.relative_to(table)).parent.mkdir(exist_ok=True)
        (tmp_path / path.relative_to(table)).write_bytes(path.read_bytes())
    numbers = load_file(table / "model.safetensors")["embedding.weight"]
    save_file({"embeddings": numbers}, tmp_path / "model.safetensors")
    assert (bertie.pipeline("embed", tmp_path)("a b") == bertie.pipeline("embed", table)("a b")).all()
    save_file({"embeddings": numbers, "weights": numbers[:, 0].copy()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="a StaticEmbedding has only 'embedding.weight' or 'embeddings'"):
        bertie.pipeline("embed", tmp_path)


def test_a_prompt_that_the_teacher_leaves_out_of_its_pooling_leaves_out_no_token(teacher: Path, tmp_path: Path) -> None:
    prompted = shutil.copytree(teacher, tmp_path / "prompted")
    recipe = Recipe(prompts={"query": "a b c d"}, default_prompt="query", include_prompt=False)
    write_recipe(prompted, recipe, 16)
    found, expected = (vectors_of_tokens(bertie.pipeline("embed", folder)) for folder in (prompted, teacher))
    np.testing.assert_array_equal(found, expected)


def test_refused(teacher: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="width is 17; allowed are 1 to 16"):
        bertie.distil_static(teacher, tmp_path / "out", width=17)
    with pytest.raises(CheckpointError, match="is not empty; name a new one"):
        bertie.distil_static(teacher, table)
    with pytest.raises(InputError, match="is a StaticEmbedding, a table without layers, which bertie does not train"):
        bertie.finetune("embedding", [{"anchor": "a", "positive": "b"}] * 4, test=0, dev=0, model=str(table))
    modules = json.loads((table / "modules.json").read_text())
    for path in ("config_sentence_transformers.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / path).write_bytes((table / path).read_bytes())
    (tmp_path / "modules.json").write_text(json.dumps([*modules, {**modules[0], "path": "2_Static"}]))
    with pytest.raises(CheckpointError, match="a text has one vector with one Transformer and one Pooling"):
        bertie.pipeline("embed", tmp_path)
