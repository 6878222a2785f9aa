"""A graph under ONNX Runtime behind the engine's interface, packed rows in and out; and comparing the two."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np

from bertie.batching import batches
from bertie.config import BertConfig
from bertie.engine import Engine
from bertie.export.graph_heads import HIDDEN, Answers, Head
from bertie.extras import need
from bertie.tasks.arrays import Array
from bertie.tasks.features import Features
from bertie.threads import available_threads

# tokens per batch in comparisons of graph and engine
_BATCH = 1_024


class OnnxModel:
    """The hidden states of `bertie.tasks.model.Model`, and all outputs of the graph by name."""

    device_type = "cpu"
    dtype = "float32"
    threads = 1  # concurrent batches; the runtime uses all cores for each

    def __init__(self, path: Path, config: BertConfig) -> None:
        runtime = need("onnxruntime", "onnx", "Comparing the graph with the engine")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = available_threads(), 3
        self.config = config
        self._session: Any = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input_ranks = {each.name: len(each.shape) for each in self._session.get_inputs()}
        outputs = self._session.get_outputs()
        self._is_per_token = {each.name: each.shape[1:2] == ["sequence"] for each in outputs}

    def answers(self, rows: Features) -> Answers:
        """Return outputs of one batch, ``[R, ...]`` or ``[T, ...]``; all multiple-choice rows belong to one prompt."""
        lengths = np.asarray(rows.lengths)
        mask = np.arange(lengths.max()) < lengths[:, None]
        given = {"input_ids": rows.ids, "token_type_ids": rows.types, "attention_mask": np.ones_like(rows.ids)}
        padded = {name: _padded(given[name], mask) for name in self._input_ranks}
        for name, axes in self._input_ranks.items():
            padded[name] = padded[name][None] if axes == 3 else padded[name]
        found = self._session.run(list(self._is_per_token), padded)
        named = zip(self._is_per_token.items(), found, strict=True)
        return {name: values[mask] if is_per_token else values for (name, is_per_token), values in named}

    def hidden_states(self, rows: Features) -> Array:
        return self.answers(rows)[HIDDEN]

    def with_threads(self, threads: int) -> Self:
        """Return itself, as it computes one batch at a time."""
        del threads
        return self

    def inference(self) -> nullcontext[None]:
        return nullcontext()


def differences(head: Head, task: Any, engine: Engine, model: OnnxModel, rows: Features) -> dict[str, float]:
    """Return output → its largest difference from the engine's, relative to max(1, the largest value)."""
    found: dict[str, float] = {}
    for part in batches(rows.lengths, _BATCH):
        batch = rows.select(part)
        answers = model.answers(batch)
        for name, wanted in head.answers(task, engine, batch).items():
            scale = max(1.0, float(np.abs(wanted).max()))
            difference = float(np.abs(answers[name] - wanted).max()) / scale
            found[name] = float(np.maximum(found.get(name, 0.0), difference))  # NumPy's maximum keeps NaN
    return found


def worst_cosine(engine: Engine, model: OnnxModel, rows: Features) -> float:
    """Return the lowest cosine between a text's mean or first-token vectors in both."""
    worst = 1.0
    for part in batches(rows.lengths, _BATCH):
        batch = rows.select(part)
        for one, other in zip(*(batch.by_row(each.hidden_states(batch)) for each in (engine, model)), strict=True):
            for a, b in ((one.mean(axis=0), other.mean(axis=0)), (one[0], other[0])):
                worst = float(np.minimum(worst, a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    return worst


def agreement(output: str, one: OnnxModel, other: OnnxModel, rows: Features) -> float | None:
    """Return the share of equal predicted classes or labels; None for an output without classes."""
    if output != "logits":
        return None
    equal: list[Array] = []
    for part in batches(rows.lengths, _BATCH):
        first, second = (model.answers(rows.select(part))[output] for model in (one, other))
        if one.config.problem_type == "regression" or first.shape[-1] < 2:
            return None
        several = one.config.problem_type == "multi_label_classification"
        chosen = [logits > 0 if several else logits.argmax(axis=-1) for logits in (first, second)]
        equal.append((chosen[0] == chosen[1]).ravel())
    return float(np.concatenate(equal).mean())


def _padded(values: Any, mask: Any) -> Any:
    padded = np.zeros(mask.shape, np.int64)
    padded[mask] = 0 if values is None else values
    return padded
