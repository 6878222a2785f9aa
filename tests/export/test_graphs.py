"""Graphs under ONNX Runtime equal the engine: heads, families, activations, poolings, positions, int8."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness import TINY
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bertie
from bertie.engine import Engine
from bertie.engine.linear import Int8Weight
from bertie.errors import BertieError
from bertie.export import exporting, onnx_model
from bertie.export import graph as graphs
from bertie.export.exporting import Source
from bertie.export.graph import Graph
from bertie.export.graph_activations import _NODES, activated
from bertie.export.graph_heads import HEADS
from bertie.export.graph_layers import without_overflow
from bertie.export.onnx_model import OnnxModel, differences, worst_cosine
from bertie.families import FAMILIES
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.tasks.features import Features
from bertie.tasks.pooling import MODES
from bertie.tasks.registry import find
from bertie.tasks.sentence_transformers_config import Recipe
from bertie.tasks.vector_layers import ACTIVATIONS, Dense, LayerNorm, Normalize

runtime = pytest.importorskip("onnxruntime")
FORMULAS = list(_NODES)
LENGTHS = [7, 1, 7, 12, 3]
SIZES = {**TINY, "max_position_embeddings": 20, "initializer_range": 0.3}
LABELS = {"text-classification": 3, "token-classification": 3, "reranking": 1}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = bertie.BertTokenizer(
    vocab={word: number for number, word in enumerate([*(f"w{each}" for each in range(94)), *SPECIAL])}
)
# the tasks of each family
OF_ALL = [name for name in HEADS if name != "next-sentence"]


def rows_of(lengths: Sequence[int], types: int = 2) -> Features:
    chance, total = np.random.default_rng(0), sum(lengths)
    ids = chance.integers(3, 99, total)
    return Features(ids, chance.integers(0, types, total), list(lengths), [0] * len(lengths), [False] * len(lengths))


def source_of(
    name: str, folder: Path, kind: str = "bert", options: dict[str, Any] | None = None, **fields: Any
) -> Source:
    """Save a small random model of a task's class, and open it; ``options`` are those of the task."""
    torch.manual_seed(0)
    row = find(name)
    labels = {"num_labels": LABELS[name]} if name in LABELS else {}
    config = bertie.AutoConfig.for_model(kind, **{**SIZES, **labels, **FAMILIES[kind].fixed, **fields})
    getattr(bertie, row.architecture)(config).save_pretrained(folder)
    engine = Engine.open(folder, row.architecture)
    task = row.load_task()(tokenizer=WORDS, config=engine.config, **(options or {}))
    return Source(row, task, engine, folder)


def check(source: Source, folder: Path, tolerance: float = 1e-5) -> dict[str, float]:
    """Compare a graph with the engine, for batches and for one text of one token."""
    path = folder / "model.onnx"
    source.write(path)
    model = OnnxModel(path, source.engine.config)
    types = max(1, source.engine.config.type_vocab_size)
    found: dict[str, float] = {}
    for lengths in (LENGTHS, [1], [20 - source.engine.config.first_position]):
        found |= differences(source.head, source.task, source.engine, model, rows_of(lengths, types))
        assert max(found.values()) < tolerance, found
    return found


@pytest.mark.parametrize("name", HEADS)
def test_every_head(name: str, tmp_path: Path) -> None:
    found = check(source_of(name, tmp_path), tmp_path)
    assert HEADS[name].main in found


@pytest.mark.parametrize("name", OF_ALL)
@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind != "bert"])
def test_every_family(kind: str, name: str, tmp_path: Path) -> None:
    more = {"embedding_size": 8} if kind == "electra" else {}
    check(source_of(name, tmp_path, kind, **more), tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"position_embedding_type": "relative_key"},
        {"position_embedding_type": "relative_key_query"},
        {"type_vocab_size": 1},
        {"num_hidden_layers": 0},
        *({"hidden_act": name} for name in ("gelu_new", "relu", "silu", "laplace", "gelu_10")),
    ],
    ids=str,
)
def test_configs(fields: dict[str, Any], tmp_path: Path) -> None:
    check(source_of("feature-extraction", tmp_path, **fields), tmp_path)


def test_an_untied_masked_lm_head(tmp_path: Path) -> None:
    check(source_of("fill-mask", tmp_path, tie_word_embeddings=False), tmp_path)


@pytest.mark.parametrize("formula", FORMULAS, ids=range(len(FORMULAS)))
def test_activations(formula: Callable[[Any], Any], tmp_path: Path) -> None:
    x = np.linspace(-8, 8, 97, dtype=np.float32)[None]
    graph = Graph()
    graph.input("unused", 1)
    graph.output("y", activated(graph, formula, graph.constant(x)), 1, 97)
    graph.save(tmp_path / "formula.onnx", {})
    (found,) = runtime.InferenceSession(str(tmp_path / "formula.onnx")).run(None, {"unused": np.zeros(1, np.int64)})
    np.testing.assert_allclose(found, formula(x), atol=2e-6)


def test_every_activation_has_a_node() -> None:
    from bertie.engine.activations import ACTIVATIONS as BY_CODE

    assert set(ACTIVATIONS.values()) | {BY_CODE[code] for code in ACTIVATION_CODES.values()} <= set(FORMULAS)


@pytest.mark.parametrize("modes", [*((mode,) for mode in MODES), ("mean", "cls")], ids="+".join)
def test_poolings(modes: tuple[str, ...], tmp_path: Path) -> None:
    check(source_of("embed", tmp_path, options={"recipe": Recipe(modes=modes)}), tmp_path)


def test_layers_around_the_pooling(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)

    def numbers(*shape: int) -> Any:
        return chance.normal(size=shape).astype(np.float32)

    width = SIZES["hidden_size"]
    tokens = (Dense(numbers(width, width), numbers(width), "Tanh", adds=True),)
    layers = (
        Dense(numbers(12, width), None, "ReLU", adds=True, residual=numbers(12, width)),
        LayerNorm(numbers(12), numbers(12)),
        Normalize(),
    )
    options = {"recipe": Recipe(truncate_dim=5), "token_layers": tokens, "layers": layers}
    source = source_of("embed", tmp_path, options=options)
    check(source, tmp_path)
    vectors = OnnxModel(tmp_path / "model.onnx", source.engine.config).answers(rows_of(LENGTHS))["sentence_embedding"]
    assert vectors.shape == (5, 5)


def test_scores_labels_and_temperatures(tmp_path: Path) -> None:
    options = {"thresholds": [0.3, 0.5, 0.9], "temperature": 1.7}
    fields = {"problem_type": "multi_label_classification"}
    source = source_of("text-classification", tmp_path / "labels", options=options, **fields)
    check(source, tmp_path / "labels")
    found = OnnxModel(tmp_path / "labels" / "model.onnx", source.engine.config).answers(rows_of(LENGTHS))
    assert np.array_equal(found["labels"], found["scores"] >= np.float32([0.3, 0.5, 0.9]))
    assert found["labels"].any()
    options = {"activation": "torch.nn.modules.activation.Tanh"}
    check(source_of("reranking", tmp_path / "rank", options=options), tmp_path / "rank")
    check(source_of("token-classification", tmp_path / "tags", options={"temperature": 0.5}), tmp_path / "tags")


def test_padding_lies_anywhere_and_spans_never_lie_in_it(tmp_path: Path) -> None:
    source = source_of("question-answering", tmp_path)
    source.write(tmp_path / "model.onnx")
    ids, mask = (
        np.random.default_rng(0).integers(3, 99, (3, 6)),
        np.array([[0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0] * 6]),
    )
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    found = dict(zip((each.name for each in session.get_outputs()), session.run(None, given), strict=True))
    model = bertie.BertForQuestionAnswering.from_pretrained(tmp_path)
    wanted = model(**{name: torch.from_numpy(values) for name, values in given.items()})
    for name, values in found.items():
        np.testing.assert_allclose(values[mask == 1], wanted[name].detach().numpy()[mask == 1], atol=1e-5)
        assert (values[mask == 0] == np.finfo(np.float32).min).all()
    assert np.isfinite(
        session.run(None, {**given, "input_ids": ids[:, :1], **dict.fromkeys(given, mask[:, :1])})[0]
    ).all()


def test_the_pooled_token_is_the_first_after_padding(tmp_path: Path) -> None:
    source_of("text-classification", tmp_path).write(tmp_path / "model.onnx")
    ids, mask = np.random.default_rng(0).integers(3, 99, (1, 6)), np.array([[0, 0, 1, 1, 1, 1]])
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    logits = runtime.InferenceSession(str(tmp_path / "model.onnx")).run(["logits"], given)[0]
    model = bertie.BertForSequenceClassification.from_pretrained(tmp_path)
    wanted = model(**{name: torch.from_numpy(values) for name, values in given.items()}).logits
    np.testing.assert_allclose(logits, wanted.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["embed", "fill-mask", "text-classification"])
def test_int8(name: str, tmp_path: Path) -> None:
    source_of(name, tmp_path / "whole", hidden_size=64, num_attention_heads=4, intermediate_size=96)
    row = find(name)
    model = getattr(bertie, row.architecture).from_pretrained(tmp_path / "whole")
    texts = [" ".join(f"w{number}" for number in range(first, first + 9)) for first in range(60)]
    bertie.quantize(model, texts=texts, tokenizer=WORDS, min_cosine=0).save_pretrained(tmp_path / "small")
    engine = Engine.open(tmp_path / "small", row.architecture)
    source = Source(row, row.load_task()(tokenizer=WORDS, config=engine.config), engine, tmp_path / "small")
    small = source.write(tmp_path / "small.onnx", also_hidden=True)
    assert small.bytes < (tmp_path / "whole" / "model.safetensors").stat().st_size / 2
    assert worst_cosine(engine, OnnxModel(tmp_path / "small.onnx", engine.config), source.rows(texts)) > 0.98


@given(arrays(np.int8, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(-127, 127)))
def test_no_pair_of_weights_overflows(weight: Any) -> None:
    table = without_overflow(Int8Weight(weight, np.ones(len(weight), np.float32), None))
    padded = np.pad(table.weight.astype(int), ((0, 0), (0, weight.shape[1] % 2))).reshape(len(weight), -1, 2)
    for side in (padded, -padded):
        assert (255 * np.maximum(side, 0).sum(2)).max() < 2**15
    assert np.abs(table.weight * table.scale[:, None] - weight).max() <= 0.5 * table.scale.max() + 1e-4


def test_weights_of_large_models_are_in_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_BYTES", 0)
    check(source_of("embed", tmp_path), tmp_path)
    assert (tmp_path / "model.onnx_data").stat().st_size > (tmp_path / "model.onnx").stat().st_size


class Nowhere:
    """A graph that gives NaN for one token of the first batch."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.batches = engine, 0

    def answers(self, rows: Features) -> dict[str, Any]:
        states = self.engine.hidden_states(rows)
        states[0] = states[0] if self.batches else np.nan
        self.batches += 1
        return {"last_hidden_state": states}

    def hidden_states(self, rows: Features) -> Any:
        return self.answers(rows)["last_hidden_state"]


def test_nan_outputs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of("feature-extraction", tmp_path)
    monkeypatch.setattr(onnx_model, "_BATCH", 8)
    rows = rows_of([5, 5, 5], 1)
    found = differences(source.head, source.task, source.engine, Nowhere(source.engine), rows)
    assert np.isnan(found["last_hidden_state"])
    assert np.isnan(worst_cosine(source.engine, Nowhere(source.engine), rows))
    monkeypatch.setattr(exporting, "OnnxModel", lambda *_: Nowhere(source.engine))
    for small, says in ((False, "last_hidden_state differ from the engine's by nan"), (True, "engine is nan, below")):
        with pytest.raises(BertieError, match=says):
            source.compare(tmp_path / "model.onnx", small, 0.99)


def test_a_graphs_names_are_the_same_in_every_process() -> None:
    assert Graph().constant(np.arange(2)) == "constant_int64_(2,)_eb82aaee034ca970"
