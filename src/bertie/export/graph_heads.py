"""The heads as graph nodes, one row per task: hidden states ``[B, S, D]`` → named outputs, and the engine's equivalent.

Letters: B texts, S padded length, D hidden, C classes, V vocabulary, N choices.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bertie.engine import Engine
from bertie.engine.activations import ACTIVATIONS
from bertie.engine.linear import Int8Weight
from bertie.engine.normalization import Norm
from bertie.engine.weights import DECODER, WORDS
from bertie.export.graph import BOOL
from bertie.export.graph_activations import activated
from bertie.export.graph_encoder import LOWEST, Encoder
from bertie.export.graph_layers import layer_norm, linear, product
from bertie.kernels.activations import ACTIVATION_CODES
from bertie.tasks.arrays import softmax
from bertie.tasks.features import Features
from bertie.tasks.vector_layers import ACTIVATIONS as CLASSES
from bertie.tasks.vector_layers import Dense, LayerNorm, VectorLayer, width_after

Answers: TypeAlias = Mapping[str, Any]
HIDDEN = "last_hidden_state"
_TEXT, _TOKEN = ("batch",), ("batch", "sequence")
_TINY = 1e-12


class Head(NamedTuple):
    """A head: ``build`` adds its outputs to a graph, ``answers`` computes them by the engine, packed ``[T, ...]``."""

    build: Callable[[Encoder, Any], None]
    answers: Callable[[Any, Engine, Features], Answers]
    main: str  # the output that the others are computed from
    axes: tuple[str, ...] = _TOKEN  # of the inputs
    pools: bool = False  # by the files of sentence-transformers, which are written too


# vectors


def build_hidden(encoder: Encoder, task: Any) -> None:
    del task
    encoder.graph.output(HIDDEN, encoder.hidden, *_TOKEN, encoder.config.hidden_size)


def _hidden(task: Any, engine: Engine, rows: Features) -> Answers:
    del task
    return {HIDDEN: engine.hidden_states(rows)}


def _build_embed(encoder: Encoder, task: Any) -> None:
    build_hidden(encoder, task)
    tokens = encoder.hidden
    for number, layer in enumerate(task.token_layers):
        tokens = _layer(encoder, layer, tokens, f"token_layers.{number}")
    pooled = [_POOLED[mode](encoder, tokens) for mode in task.recipe.modes]
    vector = pooled[0] if len(pooled) == 1 else encoder.graph.add("Concat", *pooled, axis=-1)
    for number, layer in enumerate(task.layers):
        vector = _layer(encoder, layer, vector, f"layers.{number}")
    width = width_after(task.token_layers, encoder.config.hidden_size) * len(pooled)
    width = width_after(task.layers, width)
    if (kept := task.recipe.truncate_dim) is not None:
        vector, width = encoder.graph.add("Slice", vector, [0], [kept], [1]), min(kept, width)
    encoder.graph.output("sentence_embedding", vector, *_TEXT, width)


def _embed(task: Any, engine: Engine, rows: Features) -> Answers:
    return {**_hidden(task, engine, rows), "sentence_embedding": task.run(engine, rows)}


def _weighted(power: float, rising: bool = False) -> Callable[[Encoder, str], str]:
    """Return a weighted sum of tokens divided by a power of the sum of weights; ``rising`` weights are positions."""

    def pooled(encoder: Encoder, tokens: str) -> str:
        add, weights = encoder.graph.add, encoder.float_mask
        if rising:
            weights = add("Mul", add("CumSum", weights, np.int64(1)), weights)
        total = add("Pow", add("Max", add("ReduceSum", weights, [1], keepdims=1), 1.0), power)
        return add("Squeeze", add("MatMul", add("Unsqueeze", add("Div", weights, total), [1]), tokens), [1])

    return pooled


def _largest(encoder: Encoder, tokens: str) -> str:
    add = encoder.graph.add
    seen = add("Unsqueeze", add("Cast", encoder.mask, to=BOOL), [2])
    return add("ReduceMax", add("Where", seen, tokens, float(LOWEST)), [1], keepdims=0)


_POOLED: dict[str, Callable[[Encoder, str], str]] = {
    "cls": lambda encoder, tokens: encoder.end_token(tokens),
    "lasttoken": lambda encoder, tokens: encoder.end_token(tokens, last=True),
    "max": _largest,
    "mean": _weighted(1.0),
    "mean_sqrt_len_tokens": _weighted(0.5),
    "weightedmean": _weighted(1.0, rising=True),
}


def _layer(encoder: Encoder, layer: VectorLayer, x: str, name: str) -> str:
    graph = encoder.graph
    if isinstance(layer, LayerNorm):
        return layer_norm(graph, x, Norm(layer.weight, layer.bias, layer.eps), name)
    if not isinstance(layer, Dense):
        length = graph.add("ReduceL2", x, [-1], keepdims=1)
        return graph.add("Div", x, graph.add("Max", length, _TINY))
    made = product(graph, x, layer.weight, name)
    if layer.bias is not None:
        made = graph.add("Add", made, layer.bias)
    made = activated(graph, CLASSES[layer.activation], made)
    if not layer.adds:
        return made
    return graph.add(
        "Add", made, x if layer.residual is None else product(graph, x, layer.residual, f"{name}.residual")
    )


# classes


def _pooled(encoder: Encoder) -> str:
    """Return the pooled vectors ``[B, D]``."""
    dense = linear(encoder.graph, encoder.weights, encoder.end_token(encoder.hidden), "bert.pooler.dense")
    return activated(encoder.graph, ACTIVATIONS[ACTIVATION_CODES[encoder.config.family.pooler_act]], dense)


def _scores(encoder: Encoder, task: Any, logits: str, function: Any = softmax) -> str:
    if task.temperature != 1:
        logits = encoder.graph.add("Div", logits, float(task.temperature))
    return activated(encoder.graph, function, logits)


def _build_classes(encoder: Encoder, task: Any) -> None:
    graph, count = encoder.graph, encoder.config.num_labels
    logits = linear(graph, encoder.weights, _pooled(encoder), "classifier")
    scores = _scores(encoder, task, logits, task.score_function)
    graph.output("logits", logits, *_TEXT, count)
    graph.output("scores", scores, *_TEXT, count)
    if task.thresholds is not None:
        reached = graph.add("GreaterOrEqual", scores, np.asarray(task.thresholds, np.float32))
        graph.output("labels", reached, *_TEXT, count, kind=BOOL)


def _classes(task: Any, engine: Engine, rows: Features) -> Answers:
    logits = engine.logits(rows)
    return {"logits": logits, "scores": task.scores(logits)}


def _output_scores(encoder: Encoder, task: Any, logits: str, *axes: str | int) -> None:
    encoder.graph.output("logits", logits, *axes)
    encoder.graph.output("scores", _scores(encoder, task, logits), *axes)


def _scored(task: Any, logits: Any) -> Answers:
    return {"logits": logits, "scores": task.probabilities(logits)}


def _build_tags(encoder: Encoder, task: Any) -> None:
    logits = linear(encoder.graph, encoder.weights, encoder.hidden, "classifier")
    _output_scores(encoder, task, logits, *_TOKEN, encoder.config.num_labels)


def _tags(task: Any, engine: Engine, rows: Features) -> Answers:
    return _scored(task, engine.logits(rows))


def _build_spans(encoder: Encoder, task: Any) -> None:
    del task
    add = encoder.graph.add
    logits = linear(encoder.graph, encoder.weights, encoder.hidden, "qa_outputs")
    seen = add("Cast", encoder.mask, to=BOOL)
    parts = encoder.graph.add_many("Split", 2, logits, axis=-1, num_outputs=2)
    for name, part in zip(("start_logits", "end_logits"), parts, strict=True):
        # an argmax never lands on padding (decision 1)
        encoder.graph.output(name, add("Where", seen, add("Squeeze", part, [-1]), float(LOWEST)), *_TOKEN)


def _spans(task: Any, engine: Engine, rows: Features) -> Answers:
    del task
    return dict(zip(("start_logits", "end_logits"), engine.logits(rows).T, strict=True))


def _build_choices(encoder: Encoder, task: Any) -> None:
    graph = encoder.graph
    logits = linear(graph, encoder.weights, _pooled(encoder), "classifier")
    logits = graph.add("Reshape", logits, graph.add("Shape", "input_ids", end=2))
    _output_scores(encoder, task, logits, "batch", "choices")


def _choices(task: Any, engine: Engine, rows: Features) -> Answers:
    return _scored(task, engine.logits(rows).reshape(1, -1))  # all rows are the choices of one prompt


def _build_next(encoder: Encoder, task: Any) -> None:
    logits = linear(encoder.graph, encoder.weights, _pooled(encoder), "cls.seq_relationship")
    _output_scores(encoder, task, logits, *_TEXT, 2)


def _next(task: Any, engine: Engine, rows: Features) -> Answers:
    return _scored(task, engine.next_sentence(rows))


# masked LM


def _build_masked_lm(encoder: Encoder, task: Any) -> None:
    del task
    graph, weights, config = encoder.graph, encoder.weights, encoder.config
    prefix = "cls.predictions.transform"
    formula = ACTIVATIONS[ACTIVATION_CODES[str(config.transform_act)]]
    x = activated(graph, formula, linear(graph, weights, encoder.hidden, f"{prefix}.dense"))
    x = layer_norm(graph, x, weights.norm(f"{prefix}.LayerNorm", config.layer_norm_eps), f"{prefix}.LayerNorm")
    decoder, embeddings = weights.table(DECODER), weights.table(WORDS)
    one, other = (each.weight if isinstance(each, Int8Weight) else each for each in (decoder, embeddings))
    # tied weights are stored once
    tied = one.dtype == other.dtype and np.array_equal(one, other)
    stored = graph.add("Transpose", f"{WORDS}.weight", perm=[1, 0]) if tied else None
    scores = product(graph, x, decoder, DECODER, stored)
    bias = graph.constant(weights.array(f"{DECODER}.bias"), f"{DECODER}.bias")
    graph.output("logits", graph.add("Add", scores, bias), *_TOKEN, config.vocab_size)


def _masked_lm(task: Any, engine: Engine, rows: Features) -> Answers:
    del task
    return {"logits": engine.masked_lm(rows, np.arange(len(rows.ids)))}


HEADS: Mapping[str, Head] = {
    "embed": Head(_build_embed, _embed, "sentence_embedding", pools=True),
    "feature-extraction": Head(build_hidden, _hidden, HIDDEN),
    "fill-mask": Head(_build_masked_lm, _masked_lm, "logits"),
    "multiple-choice": Head(_build_choices, _choices, "logits", ("batch", "choices", "sequence")),
    "next-sentence": Head(_build_next, _next, "logits"),
    "question-answering": Head(_build_spans, _spans, "start_logits"),
    "reranking": Head(_build_classes, _classes, "logits"),
    "text-classification": Head(_build_classes, _classes, "logits"),
    "token-classification": Head(_build_tags, _tags, "logits"),
}
