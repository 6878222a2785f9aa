"""``bertie convert --to gguf``: weights, vocabulary and pooling in one file, and llama.cpp's vectors."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.errors import InputError
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.sentence_transformers_writing import write_recipe

gguf = pytest.importorskip("gguf")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s", "sat"]
SHAPE = {"vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
LLAMA = """
import {getLlama} from "node-llama-cpp";
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath: process.argv[2]});
const context = await model.createEmbeddingContext();
for (const text of JSON.parse(process.argv[3])) {
  const { vector } = await context.getEmbeddingFor(text);
  console.log(JSON.stringify(vector));
}
process.exit(0);
"""


def saved(folder: Path, name: str = "BertModel", recipe: Recipe | None = None, **given: Any) -> Path:
    torch.manual_seed(0)
    getattr(bertie, name)(bertie.BertConfig(**{**SHAPE, **given})).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    bertie.BertTokenizer(vocab=vocabulary, model_max_length=512).save_pretrained(folder)
    if recipe is not None:
        write_recipe(folder, recipe, SHAPE["hidden_size"])
    return folder


def test_weights_vocabulary_and_pooling(tmp_path: Path) -> None:
    source = saved(tmp_path / "model", recipe=Recipe(modes=("cls",), max_length=20, is_stated=True))
    bertie.convert(source, tmp_path / "out", "gguf")
    file = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    fields = {name: field.contents() for name, field in file.fields.items()}
    assert fields["bert.context_length"] == 20
    assert fields["bert.pooling_type"] == gguf.PoolingType.CLS
    assert fields["bert.attention.causal"] is False
    assert fields["tokenizer.ggml.tokens"][5:] == ["▁cat", "s", "▁sat", "[unused_row8]", "[unused_row9]"]
    assert (fields["tokenizer.ggml.bos_token_id"], fields["tokenizer.ggml.eos_token_id"]) == (2, 3)
    stored = {each.name: np.array(each.data) for each in file.tensors}
    state = bertie.BertModel.from_pretrained(source).state_dict()
    assert len(stored) == 5 + 2 * 16
    for theirs, ours in (
        ("blk.1.ffn_up.bias", "encoder.layer.1.intermediate.dense.bias"),
        ("blk.0.attn_output_norm.weight", "encoder.layer.0.attention.output.LayerNorm.weight"),
        ("token_embd.weight", "embeddings.word_embeddings.weight"),
    ):
        np.testing.assert_array_equal(stored[theirs], state[ours].numpy())
    np.testing.assert_array_equal(stored["position_embd.weight"], state["embeddings.position_embeddings.weight"][:20])
    assert (tmp_path / "out" / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"position_embedding_type": "relative_key"}, "its positions are 'relative_key'"),
        ({"hidden_act": "relu"}, "its hidden_act is 'relu'"),
        ({"name": "BertLMHeadModel", "is_decoder": True}, "it is a decoder"),
        ({"recipe": Recipe(modes=("max",), is_stated=True)}, "it pools by max"),
        ({"recipe": Recipe(truncate_dim=4, is_stated=True)}, "its vectors are cut"),
        (
            {"recipe": Recipe(prompts={"query": "find: "}, include_prompt=False, is_stated=True)},
            "it pools a text without its prompt",
        ),
    ],
)
def test_unsupported_models_are_refused(given: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"llama.cpp would compute other vectors: {reason}"):
        bertie.convert(saved(tmp_path / "model", **given), tmp_path / "out", "gguf")
    assert not (tmp_path / "out").exists()


def test_capitals_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    bertie.BertTokenizer.from_pretrained(folder, do_lower_case=False).save_pretrained(folder)
    with pytest.raises(InputError, match="its tokenizer keeps capitals or accents"):
        bertie.convert(folder, tmp_path / "out", "gguf")


def test_unsupported_tokenizers_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    tokenizer = bertie.BertTokenizer.from_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(folder, tokenize_chinese_chars=False).save_pretrained(folder)
    with pytest.raises(InputError, match="its tokenizer does not split Chinese characters"):
        bertie.convert(folder, tmp_path / "out", "gguf")
    for tokens, says in (
        (["foo"], r"tokens were added to its vocabulary \(foo\)"),
        (["bar", "baz"], "a token 10, but"),
    ):
        tokenizer.add_tokens(tokens)
        tokenizer.save_pretrained(folder)
        with pytest.raises(InputError, match=says):
            bertie.convert(folder, tmp_path / "out", "gguf")
    assert not (tmp_path / "out").exists()


def test_a_prompt_is_left_to_the_user_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = Recipe(prompts={"query": "query: "}, default_prompt="query", is_stated=True)
    bertie.convert(saved(tmp_path / "model", recipe=recipe), tmp_path / "out", "gguf")
    assert "begin each with 'query: ' yourself" in caplog.text


def test_a_head_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bertie.convert(saved(tmp_path / "model", "BertForSequenceClassification"), tmp_path / "out", "gguf")
    assert "llama.cpp embeds texts: the head ('classifier.bias') is left out" in caplog.text


@pytest.mark.slow
def test_llama_cpp_gives_the_same_vectors(minilm: Path, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("needs npm, for llama.cpp as node-llama-cpp brings it")
    packages = ("node-llama-cpp@3", "@node-llama-cpp/linux-x64@3")
    line = ["npm", "install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", *packages]
    (tmp_path / "package.json").write_text("{}")
    if subprocess.run(line, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("npm brings no llama.cpp for this machine")
    (tmp_path / "embed.mjs").write_text(LLAMA)
    bertie.convert(minilm, tmp_path / "out", "gguf")
    texts = ["A cat sat on the mat.", "Why?", "Café Müller is closed, isn't it? 100%", "unbelievable photosynthesis"]
    line = ["node", "embed.mjs", str(tmp_path / "out" / "model.gguf"), json.dumps(texts)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = np.array([json.loads(text) for text in done.stdout.splitlines() if text.startswith("[")])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, bertie.pipeline("embed", minilm)(texts), atol=1e-3)
