"""bertie.export_onnx: export a checkpoint to a folder with graph, tokenizer and config, checked against the engine."""

import os
import shutil
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bertie.checkpoints.new_folder import check_new, note_in_card
from bertie.config import CONFIG_NAME
from bertie.data.bundled_texts import book_texts
from bertie.engine import Engine
from bertie.engine.weights import Weights
from bertie.errors import BertieError, InputError
from bertie.export.graph import Graph
from bertie.export.graph_encoder import Encoder
from bertie.export.graph_heads import HEADS, HIDDEN, Head, build_hidden
from bertie.export.onnx_model import OnnxModel, differences, worst_cosine
from bertie.files import atomic_folder, make_folder, write_text
from bertie.hub import member, resolve
from bertie.pipelines.factory import load_task
from bertie.pipelines.head_tasks import tasks_of
from bertie.run_files import MODEL_CARD
from bertie.tasks.features import Features
from bertie.tasks.registry import Row, find
from bertie.tasks.sentence_transformers_writing import write_recipe

# where transformers.js and optimum look for a float and for an int8 graph
GRAPH_FILES = {False: "onnx/model.onnx", True: "onnx/model_quantized.onnx"}
# another order of summation changes results by less
MAX_DIFFERENCE = 1e-4
MIN_COSINE = 0.99
_TEXTS = 16
_COPIED = ("LICENSE", "NOTICE", MODEL_CARD)


@dataclass(frozen=True)
class Exported:
    """An exported graph.

    Attributes:
        path: its file.
        task: the task whose head it has.
        outputs: the names of its outputs.
        bytes: the size of its weights.
        difference: output → its largest difference from the engine's, relative to max(1, the largest value); empty for
            int8 weights, which are rounded differently.
        cosine_worst: for int8 weights, the lowest cosine of a text's vectors to the engine's; else None.
    """

    path: Path
    task: str
    outputs: tuple[str, ...]
    bytes: int
    difference: dict[str, float]
    cosine_worst: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the fields as the command prints them."""
        return {**vars(self), "path": str(self.path), "outputs": list(self.outputs)}


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint to export: its task, and the engine that its graph is compared with."""

    row: Row
    task: Any
    engine: Engine
    folder: Path

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str], task: str | None) -> "Source":
        """Open a folder or hub name; ``task`` None is the first task of its head."""
        row = find(task or tasks_of(os.fspath(name_or_path))[0])
        if row.name not in HEADS:
            raise InputError(f"task is {row.name!r}, which has no graph; allowed: {', '.join(HEADS)}.")
        answering: Any
        answering, engine, why = load_task(row, name_or_path, device="cpu", answers=True)
        if not isinstance(engine, Engine) or engine.weights is None:
            raise InputError(
                f"Only models that the engine runs can be exported, and {os.fspath(name_or_path)!r} is not one: {why}."
            )
        if HEADS[row.name].pools and answering.recipe.prompts and not answering.recipe.include_prompt:
            raise InputError(
                f"{os.fspath(name_or_path)!r} pools a text without its prompt (include_prompt=false), which a graph "
                "cannot tell from the text; export it as 'feature-extraction' and pool its tokens in your program."
            )
        answering = answering.with_options(**row.saved_options(engine.config))
        return cls(row, answering, engine, resolve(name_or_path, files=[CONFIG_NAME, *_COPIED]))

    @property
    def head(self) -> Head:
        return HEADS[self.row.name]

    def write(self, path: Path, weights: Weights | None = None, also_hidden: bool = False) -> Graph:
        """Write the graph of these weights, or of the checkpoint's, to a file, and return it."""
        config, graph = self.engine.config, Graph()
        names = ["input_ids", "attention_mask", *(["token_type_ids"] if config.type_vocab_size > 1 else [])]
        inputs = [graph.input(name, *self.head.axes) for name in names]
        if len(self.head.axes) == 3:  # flatten choices to texts
            shape = graph.add("Concat", [-1], graph.add("Shape", "input_ids", start=2), axis=0)
            inputs = [graph.add("Reshape", name, shape) for name in inputs]
        stored = weights or self.engine.weights
        assert stored is not None
        ids, mask, *types = inputs
        encoder = Encoder(graph, stored, config, ids, mask, types[0] if types else None)
        self.head.build(encoder, self.task)
        if also_hidden and HIDDEN not in graph.outputs:
            build_hidden(encoder, self.task)
        graph.save(path, {"task": self.row.name, "architecture": self.row.architecture})
        return graph

    def rows(self, texts: Sequence[Any]) -> Features:
        """Return the tokenized texts, and a further row of a single token."""
        read = Features.from_rows(self.task.tokenizer.rows(texts, truncation=True, max_length=self.task.limit))
        return Features.concatenate([read, Features.from_lists([[int(read.ids[0])]], [[0]], [0], [False])])

    def write_other_files(self, folder: Path) -> None:
        """Write the other files that programs need: config, tokenizer, and those of sentence-transformers."""
        config = copy(self.engine.config)
        config.architectures, config.quantization_config = [self.row.architecture], None
        write_text(folder / CONFIG_NAME, config.to_json_string())
        tokenizer = copy(self.task.tokenizer)
        if self.head.pools:
            tokenizer.model_max_length = self.task.limit
            if self.task.recipe.is_stated:
                write_recipe(folder, self.task.recipe, config.hidden_size)
        tokenizer.save_pretrained(folder)
        for name in _COPIED:
            if (path := member(self.folder, name)).is_file():
                shutil.copyfile(path, folder / name)

    def export(
        self, out: str | os.PathLike[str], weights: Weights | None = None, min_cosine: float = MIN_COSINE
    ) -> Exported:
        """Write the folder with these weights, or with the checkpoint's after comparing them with the engine."""
        is_int8 = weights is not None or self.engine.config.quantization_config is not None
        with atomic_folder(check_new(out)) as folder:
            path = folder / GRAPH_FILES[is_int8]
            graph = self.write(make_folder(path.parent) / path.name, weights)
            found = self.compare(path, is_int8, min_cosine) if weights is None else {"difference": {}}
            self.write_other_files(folder)
            if is_int8:
                note_in_card(folder)
        return Exported(Path(out) / GRAPH_FILES[is_int8], self.row.name, tuple(graph.outputs), graph.bytes, **found)

    def compare(self, path: Path, is_int8: bool, min_cosine: float) -> dict[str, Any]:
        """Return how much a graph's outputs differ from the engine's; raise BertieError if too much."""
        rows = self.rows(book_texts(_TEXTS))
        if is_int8:
            with TemporaryDirectory() as place:
                self.write(hidden := Path(place, "hidden.onnx"), also_hidden=True)
                worst = worst_cosine(self.engine, OnnxModel(hidden, self.engine.config), rows)
            if not worst >= min_cosine:
                raise BertieError(
                    f"The worst text's cosine to the engine is {worst:.4f}, below {min_cosine}. Nothing is written."
                )
            return {"difference": {}, "cosine_worst": worst}
        found = differences(self.head, self.task, self.engine, OnnxModel(path, self.engine.config), rows)
        if far := next((name for name, each in found.items() if not each <= MAX_DIFFERENCE), None):
            raise BertieError(
                f"The graph's {far} differ from the engine's by {found[far]:.1e} of their size, more than rounding "
                "explains. Nothing is written; please report it with the model's config.json."
            )
        return {"difference": found}


def export_onnx(model: str | os.PathLike[str], out: str | os.PathLike[str], task: str | None = None) -> Exported:
    """Export a checkpoint to a new folder: an ONNX graph with its tokenizer and config.

    ``bertie.export_onnx("sentence-transformers/all-MiniLM-L6-v2", "minilm-onnx")``

    The graph takes ``input_ids``, ``attention_mask`` and, for models with token types, ``token_type_ids``: int64 of any
    shape ``[B, S]`` (for multiple choice ``[B, N, S]``), padded anywhere. Its outputs depend on the task:

    - embed: ``sentence_embedding [B, D]``, pooled, projected, normalised and truncated as sentence-transformers' files
      say, and ``last_hidden_state [B, S, D]``; feature-extraction: only the latter;
    - text-classification, reranking: ``logits [B, C]``, ``scores [B, C]`` by the config's softmax, sigmoid or
      other activation at the checkpoint's temperature, and ``labels`` bool ``[B, C]`` if it has thresholds;
    - token-classification: ``logits`` and ``scores [B, S, C]``; multiple-choice: both ``[B, N]``; next-sentence: both
      ``[B, 2]``, column 0 scores "B follows A";
    - question-answering: ``start_logits`` and ``end_logits [B, S]``; fill-mask: ``logits [B, S, V]``.

    An int8 checkpoint from `bertie.quantize` becomes an int8 graph. The graph is run by ONNX Runtime and compared with
    the engine before the folder is created.

    Args:
        model: a folder or hub name.
        out: the new folder.
        task: a task of `bertie.pipeline` whose head the checkpoint has; None: the first such task.

    Raises:
        InputError: the task has no graph, or the engine does not run the model.
        CheckpointError: the model's files are missing, damaged or unsafe, or ``out`` is not new.
        BertieError: onnx or onnxruntime is not installed, or the graph differs too much from the engine.
    """
    return Source.open(model, task).export(out)
