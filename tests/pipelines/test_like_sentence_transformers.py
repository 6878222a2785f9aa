"""embed returns sentence-transformers' vectors: on real texts with real weights, and for every kind of folder."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as st

import bertie
from bertie import BertTokenizer
from bertie.errors import CheckpointError, InputError

SOME = ["", "A dog barks.", "The cat sat on the mat, and it would not go away.", "[SEP] and [MASK]", "word " * 100]


def test_all_minilm_on_three_hundred_real_texts(
    minilm: Path, texts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected = SentenceTransformer(str(minilm), device="cpu").encode(texts, batch_size=64)
    pipe = bertie.pipeline("embed", device="cpu")
    with caplog.at_level(logging.WARNING, "bertie"):
        vectors, truncated = pipe(texts, return_truncated=True)
    assert (vectors.dtype, vectors.shape) == (np.float32, (300, 384))
    assert np.abs(vectors - expected).max() < 1e-6
    whole = [len(ids) for ids in pipe.tokenizer(texts, verbose=False)["input_ids"]]
    assert truncated.tolist() == [max(length - 256, 0) for length in whole]
    cut = sum(length > 256 for length in whole)
    assert cut >= 5
    assert caplog.messages == [
        f"{cut} of 300 texts are longer than the 256 tokens the model reads; the rest was left out."
    ]
    np.testing.assert_allclose(pipe(texts[0]), expected[0], atol=1e-6)


def build(folder: Path, out: Path, pooling: dict[str, Any], *more: torch.nn.Module, **settings: Any) -> Path:
    """Save a folder as sentence-transformers does."""
    transformer = st.Transformer(str(folder), **settings.pop("transformer", {}))
    pool = st.Pooling(32, **pooling)
    SentenceTransformer(modules=[transformer, pool, *more], device="cpu", **settings).save(str(out))
    return out


KINDS: dict[str, tuple[dict[str, Any], list[Any], dict[str, Any], dict[str, Any]]] = {
    **{mode: ({"pooling_mode": mode}, [], {}, {}) for mode in st.Pooling.POOLING_MODES},
    "joined": ({"pooling_mode": ("cls", "mean", "max")}, [st.Normalize], {}, {}),
    "dense": ({"pooling_mode": "cls"}, [lambda: st.Dense(32, 12), st.Normalize], {}, {}),
    "prompt": ({"pooling_mode": "mean"}, [], {"prompts": {"query": "find this: "}}, {"prompt_name": "query"}),
    "default prompt": ({}, [], {"prompts": {"q": "find this: "}, "default_prompt_name": "q"}, {}),
    "prompt not pooled": ({"include_prompt": False}, [], {"prompts": {"q": "find this: "}}, {"prompt_name": "q"}),
    "own prompt": ({}, [], {}, {"prompt": "Represent: "}),
    "length": ({}, [], {"transformer": {"max_seq_length": 12}}, {}),
    "cut": ({}, [st.Normalize], {"truncate_dim": 16}, {}),
    "cut beyond its end": ({}, [], {"truncate_dim": 160}, {}),
    "dropout": ({}, [lambda: st.Dropout(0.5), st.Normalize], {}, {}),
    "layer norm": (
        {"pooling_mode": ("mean", "max")},
        [lambda: _moved(st.LayerNorm(64)), lambda: st.Dense(64, 8)],
        {},
        {},
    ),
    "normalize, then dense": ({}, [st.Normalize, lambda: st.Dense(32, 12, bias=False)], {}, {}),
    "dense twice": (
        {},
        [lambda: st.Dense(32, 12, activation_function=torch.nn.GELU()), lambda: st.Dense(12, 7)],
        {},
        {},
    ),
    "residual": (
        {},
        [lambda: st.Dense(32, 12, use_residual=True), lambda: st.Dense(12, 12, use_residual=True)],
        {},
        {},
    ),
    "mish": ({}, [lambda: st.Dense(32, 12, activation_function=torch.nn.Mish())], {}, {}),
    "no activation": ({}, [lambda: st.Dense(32, 12, activation_function=None)], {}, {}),
}


def _moved(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module with weights that have an effect."""
    for weight in module.parameters():
        torch.nn.init.normal_(weight)
    return module


@pytest.mark.parametrize("pooling_mode", ["cls", "mean", ("cls", "max")])
def test_layers_on_tokens(pooling_mode: Any, tiny: Callable[..., Path], tmp_path: Path) -> None:
    torch.manual_seed(1)
    on_tokens = {"module_input_name": "token_embeddings"}
    parts = [st.Transformer(str(tiny())), st.Dense(32, 12, **on_tokens), st.Normalize(**on_tokens)]
    parts += [st.Pooling(12, pooling_mode), st.Dense(12 if isinstance(pooling_mode, str) else 24, 5)]
    out = tmp_path / "out"
    SentenceTransformer(modules=parts, device="cpu").save(str(out))
    expected = SentenceTransformer(str(out), device="cpu").encode(SOME)
    pipe = bertie.pipeline("embed", out, device="cpu")
    assert pipe(SOME).shape == expected.shape
    np.testing.assert_allclose(pipe(SOME), expected, atol=1e-6)
    long = pipe(["word " * 100], windows=True)
    assert np.isfinite(long).all()
    assert np.abs(long - pipe(["word " * 100])).max() < 1


@pytest.mark.parametrize("cased", [True, False])
def test_lower_casing_comes_first(cased: bool, tiny: Callable[..., Path], tmp_path: Path) -> None:
    folder = tiny()
    BertTokenizer.from_pretrained(folder, do_lower_case=not cased).save_pretrained(folder)
    texts = ["The CAT and Ünal, ΟΔΟΣ [SEP] İx", "the cat"]
    expected = SentenceTransformer(modules=[st.Transformer(str(folder), do_lower_case=True), st.Pooling(32)]).encode(
        texts
    )
    names = ("Transformer", "Pooling")
    steps = [{"type": f"sentence_transformers.models.{name}", "path": "1_P" * (name == "Pooling")} for name in names]
    (folder / "modules.json").write_text(json.dumps(steps))
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    np.testing.assert_allclose(bertie.pipeline("embed", folder, device="cpu")(texts), expected, atol=1e-6)


def test_prompts_and_lower_casing_of_pairs(tiny: Callable[..., Path], tmp_path: Path) -> None:
    out = build(tiny(), tmp_path / "out", {}, prompts={"q": "find this: "}, default_prompt_name="q")
    pairs = [("the cat", "a dog barks"), ("a", "b")]
    pipe = bertie.pipeline("embed", out, device="cpu")
    expected = SentenceTransformer(str(out), device="cpu").encode(pairs)  # the prompt comes before the first text
    np.testing.assert_allclose(pipe(pairs), expected, atol=1e-6)
    (out / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    BertTokenizer.from_pretrained(out, do_lower_case=False).save_pretrained(out)
    pipe = bertie.pipeline("embed", out, device="cpu")
    np.testing.assert_array_equal(pipe([("THE cat", "A Dog")]), pipe([("the cat", "a dog")]))


def test_normalization_follows_truncation(tiny: Callable[..., Path], tmp_path: Path) -> None:
    out = build(tiny(), tmp_path / "out", {}, truncate_dim=16)
    expected = SentenceTransformer(str(out), device="cpu").encode(SOME, normalize_embeddings=True)
    np.testing.assert_allclose(bertie.pipeline("embed", out, device="cpu")(SOME, normalize=True), expected, atol=1e-6)


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "manhattan", "cosine"])
def test_texts_are_found_by_the_similarity_that_the_files_name(
    similarity: str, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    out = build(tiny(), tmp_path / "out", {"pooling_mode": "max"}, similarity_fn_name=similarity)
    theirs = SentenceTransformer(str(out), device="cpu")
    expected = theirs.similarity(theirs.encode(SOME[1]), theirs.encode(SOME))[0].numpy()
    hits = bertie.SearchIndex(SOME, bertie.pipeline("embed", out, device="cpu")).search(SOME[1], top_k=len(SOME))
    assert [hit.number for hit in hits] == np.argsort(-expected, kind="stable").tolist()
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1], atol=2e-5)


def test_a_length_beyond_the_positions_is_reported(
    tiny: Callable[..., Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = tiny()
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9999}')
    pipe = bertie.pipeline("embed", folder, device="cpu")
    assert "max_seq_length is 9999 in the model's files, but the model has only 64 positions" in caplog.text
    _, cut = pipe(["word " * 100], return_truncated=True)
    assert cut.tolist() == [38]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_folder(kind: str, tiny: Callable[..., Path], tmp_path: Path) -> None:
    pooling, more, settings, call = KINDS[kind]
    torch.manual_seed(1)
    out = build(tiny(), tmp_path / "out", pooling, *(make() for make in more), **settings)
    expected = SentenceTransformer(str(out), device="cpu").encode(SOME, **call)
    vectors = bertie.pipeline("embed", out, device="cpu")(SOME, **call)
    assert vectors.shape == expected.shape
    assert np.abs(vectors - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


def test_a_plain_folder_is_mean_pooled(tiny: Callable[..., Path]) -> None:
    folder = tiny()
    expected = SentenceTransformer(str(folder), device="cpu").encode(SOME, normalize_embeddings=True)
    pipe = bertie.pipeline("embed", folder, device="cpu")
    np.testing.assert_allclose(pipe(SOME, normalize=True), expected, atol=1e-6)
    # the model may come as an object, too
    np.testing.assert_allclose(
        bertie.pipeline("embed", bertie.AutoModel.from_pretrained(folder))(SOME), pipe(SOME), atol=1e-6
    )


def test_the_models_files_in_a_subfolder(tiny: Callable[..., Path], tmp_path: Path) -> None:
    tiny().rename(tmp_path / "0_Transformer")
    names = {"Transformer": "0_Transformer", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    kinds = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in names.items()]
    (tmp_path / "modules.json").write_text(json.dumps(kinds))
    vectors = bertie.pipeline("embed", tmp_path, device="cpu")(SOME)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_same_vector_in_any_batch(minilm: Path, texts: list[str]) -> None:
    pipe = bertie.pipeline("embed", minilm, device="cpu")
    together = pipe(texts[:40])
    for options in ({"batch_tokens": 1}, {"batch_tokens": 300}, {"batch_size": 1}):
        other = bertie.pipeline("embed", minilm, device="cpu", **options)
        assert np.abs(other(texts[:40]) - together).max() < 1e-6


def test_special_tokens_can_be_read_as_text(minilm: Path) -> None:
    pipe = bertie.pipeline("embed", minilm, device="cpu")
    plain, control = (pipe("a [SEP] b", split_special_tokens=split) for split in (True, False))
    assert np.abs(plain - control).max() > 1e-3
    assert np.array_equal(control, pipe("a [SEP] b"))


def test_no_texts_and_bad_prompts(minilm: Path) -> None:
    pipe = bertie.pipeline("embed", minilm, device="cpu")
    vectors, truncated = pipe([], return_truncated=True)
    assert (vectors.shape, vectors.dtype, truncated.shape) == ((0, 384), np.float32, (0,))
    with pytest.raises(InputError, match="no prompt 'query'; it has none"):
        pipe(["a"], prompt_name="query")


def test_a_dense_layer_bertie_does_not_have(tiny: Callable[..., Path], tmp_path: Path) -> None:
    out = build(tiny(), tmp_path / "out", {}, st.Dense(32, 12))
    path = out / "2_Dense" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"activation_function": "os.system"}))
    with pytest.raises(CheckpointError, match="asks for 'os.system', which bertie does not have"):
        bertie.pipeline("embed", out)
    path.write_text(json.dumps(config | {"out_features": 13}))
    with pytest.raises(CheckpointError, match="the files do not belong together"):
        bertie.pipeline("embed", out)
