"""A graph under ONNX Runtime, asked as the engine is: packed rows in, packed numbers out; and how far they differ."""

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

# tokens of a batch that the graph and the engine compute to be compared
_BATCH = 1_024


class OnnxModel:
    """Of what `bertie.tasks.model.Model` asks, the hidden states; and all outputs of the graph by name."""

    device_type = "cpu"
    dtype = "float32"
    threads = 1  # of batches at once; the runtime divides each among the cores

    def __init__(self, path: Path, config: BertConfig) -> None:
        runtime = need("onnxruntime", "onnx", "Comparing the graph with the engine")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = available_threads(), 3
        self.config = config
        self._session: Any = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._takes = {each.name: len(each.shape) for each in self._session.get_inputs()}
        outputs = self._session.get_outputs()
        self._of_tokens = {each.name: each.shape[1:2] == ["sequence"] for each in outputs}

    def answers(self, rows: Features) -> Answers:
        """Return outputs of one batch ``[R, ...]`` or ``[T, ...]``; the choices of a prompt are all its rows."""
        lengths = np.asarray(rows.lengths)
        mask = np.arange(lengths.max()) < lengths[:, None]
        given = {"input_ids": rows.ids, "token_type_ids": rows.types, "attention_mask": np.ones_like(rows.ids)}
        padded = {name: _padded(given[name], mask) for name in self._takes}
        for name, axes in self._takes.items():
            padded[name] = padded[name][None] if axes == 3 else padded[name]
        found = self._session.run(list(self._of_tokens), padded)
        named = zip(self._of_tokens.items(), found, strict=True)
        return {name: values[mask] if of_tokens else values for (name, of_tokens), values in named}

    def hidden_states(self, rows: Features) -> Array:
        return self.answers(rows)[HIDDEN]

    def with_threads(self, threads: int) -> Self:
        """Return itself: it computes one batch at a time."""
        del threads
        return self

    def inference(self) -> nullcontext[None]:
        return nullcontext()


def differences(head: Head, task: Any, engine: Engine, model: OnnxModel, rows: Features) -> dict[str, float]:
    """Return by how much each output differs at most, as a part of its largest number if that is above 1."""
    found: dict[str, float] = {}
    for part in batches(rows.lengths, _BATCH):
        batch = rows.select(part)
        answers = model.answers(batch)
        for name, wanted in head.answers(task, engine, batch).items():
            scale = max(1.0, float(np.abs(wanted).max()))
            difference = float(np.abs(answers[name] - wanted).max()) / scale
            found[name] = float(np.maximum(found.get(name, 0.0), difference))  # NaN stays, which max would drop
    return found


def worst_cosine(engine: Engine, model: OnnxModel, rows: Features) -> float:
    """Return the least cosine of a text's mean, or first token, to the engine's."""
    worst = 1.0
    for part in batches(rows.lengths, _BATCH):
        batch = rows.select(part)
        for one, other in zip(*(batch.by_row(each.hidden_states(batch)) for each in (engine, model)), strict=True):
            for a, b in ((one.mean(axis=0), other.mean(axis=0)), (one[0], other[0])):
                worst = float(np.minimum(worst, a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    return worst


def agreement(output: str, one: OnnxModel, other: OnnxModel, rows: Features) -> float | None:
    """Return the share of equal best classes, or of labels on the same side of 0; None of an output without classes."""
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
