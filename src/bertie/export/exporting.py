"""bertie.export_onnx: a checkpoint → a folder with its graph, tokenizer and config, compared with the engine first."""

import os
import shutil
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bertie.checkpoints.beside_weights import check_new, note_in_card
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

# where transformers.js and optimum look for a graph, and for one of 8 bits
PLACES = {False: "onnx/model.onnx", True: "onnx/model_quantized.onnx"}
# sums in another order differ by less; more is a mistake
FARTHEST = 1e-4
MIN_COSINE = 0.99
_TEXTS = 16
_COPIED = ("LICENSE", "NOTICE", MODEL_CARD)


@dataclass(frozen=True)
class Exported:
    """A graph that was written.

    Attributes:
        path: its file.
        task: the task whose head it has.
        outputs: their names.
        bytes: of its weights.
        difference: output → the largest difference to the engine's numbers, as a part of the largest one if above 1;
            of weights of 8 bits, which round in another way, it is no measure, and empty.
        cosine_worst: for weights of 8 bits, the least cosine of a text's vectors to the engine's; else None.
    """

    path: Path
    task: str
    outputs: tuple[str, ...]
    bytes: int
    difference: dict[str, float]
    cosine_worst: float | None = None

    def record(self) -> dict[str, Any]:
        """Return it as a command prints it."""
        return {**vars(self), "path": str(self.path), "outputs": list(self.outputs)}


@dataclass(frozen=True, eq=False)
class Source:
    """A checkpoint that is exported: its task, and the engine that its graph is compared with."""

    row: Row
    task: Any
    engine: Engine
    folder: Path

    @classmethod
    def open(cls, name_or_path: str | os.PathLike[str], task: str | None) -> "Source":
        """Open a folder or a name in the hub; a task of None is what its head does first."""
        row = find(task or tasks_of(os.fspath(name_or_path))[0])
        if row.name not in HEADS:
            raise InputError(f"task is {row.name!r}, of which there is no graph; allowed: {', '.join(HEADS)}.")
        answering: Any
        answering, engine, why = load_task(row, name_or_path, device="cpu", answers=True)
        if not isinstance(engine, Engine) or engine.weights is None:
            raise InputError(
                f"A graph is made of what the engine computes, and {os.fspath(name_or_path)!r} is not: {why}."
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
        if len(self.head.axes) == 3:  # each choice is a text
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
        """Return texts as the task's tokenizer reads them, and a row of one token alone."""
        read = Features.from_rows(self.task.tokenizer.rows(texts, truncation=True, max_length=self.task.limit))
        return Features.concatenate([read, Features.from_lists([[int(read.ids[0])]], [[0]], [0], [False])])

    def write_beside(self, folder: Path) -> None:
        """Write what a program needs beside the graph: config, tokenizer, and what sentence-transformers reads."""
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
        """Write the folder, of these weights, or of the checkpoint's, which are compared with the engine first."""
        small = weights is not None or self.engine.config.quantization_config is not None
        with atomic_folder(check_new(out)) as folder:
            path = folder / PLACES[small]
            graph = self.write(make_folder(path.parent) / path.name, weights)
            found = self.compare(path, small, min_cosine) if weights is None else {"difference": {}}
            self.write_beside(folder)
            if small:
                note_in_card(folder)
        return Exported(Path(out) / PLACES[small], self.row.name, tuple(graph.outputs), graph.bytes, **found)

    def compare(self, path: Path, small: bool, min_cosine: float) -> dict[str, Any]:
        """Return how far a graph is from the engine, and refuse one that is too far."""
        rows = self.rows(book_texts(_TEXTS))
        if small:
            with TemporaryDirectory() as place:
                self.write(hidden := Path(place, "hidden.onnx"), also_hidden=True)
                worst = worst_cosine(self.engine, OnnxModel(hidden, self.engine.config), rows)
            if not worst >= min_cosine:
                raise BertieError(
                    f"The worst text's cosine to the engine is {worst:.4f}, below {min_cosine}. Nothing is written."
                )
            return {"difference": {}, "cosine_worst": worst}
        found = differences(self.head, self.task, self.engine, OnnxModel(path, self.engine.config), rows)
        if far := next((name for name, each in found.items() if not each <= FARTHEST), None):
            raise BertieError(
                f"The graph's {far} differ from the engine's by {found[far]:.1e} of their size, more than rounding "
                "does. Nothing is written; please report it with the model's config.json."
            )
        return {"difference": found}


def export_onnx(model: str | os.PathLike[str], out: str | os.PathLike[str], task: str | None = None) -> Exported:
    """Write a checkpoint as a graph of ONNX into a new folder, with its tokenizer and config beside it.

    ``bertie.export_onnx("sentence-transformers/all-MiniLM-L6-v2", "minilm-onnx")``

    The graph takes ``input_ids``, ``attention_mask`` and, of models with token types, ``token_type_ids``, int64 of any
    ``[B, S]`` (of multiple choice ``[B, N, S]``), padded as one likes. It gives what the checkpoint's head does:

    - embed: ``sentence_embedding [B, D]``, pooled, through dense layers, normalised and cut as sentence-transformers'
      files say, and ``last_hidden_state [B, S, D]``; feature-extraction: the latter alone;
    - text-classification, reranking: ``logits [B, C]``, ``scores [B, C]`` by the config's softmax, sigmoid or
      other activation at the checkpoint's temperature, and ``labels`` bool ``[B, C]`` where it has thresholds;
    - token-classification: ``logits`` and ``scores [B, S, C]``; multiple-choice: both ``[B, N]``; next-sentence: both
      ``[B, 2]``, column 0 speaks for "B follows A";
    - question-answering: ``start_logits`` and ``end_logits [B, S]``; fill-mask: ``logits [B, S, V]``.

    An int8 checkpoint, as `bertie.quantize` makes them, becomes a graph of 8-bit integers. The graph is run by ONNX
    Runtime and compared with the engine before the folder is there.

    Args:
        model: a folder, or a name in the hub.
        out: the new folder.
        task: one that `bertie.pipeline` knows, whose head the checkpoint has; None: its first.

    Raises:
        InputError: there is no graph of the task, or the engine does not compute the model.
        CheckpointError: the model's files are missing, damaged or unsafe, or ``out`` is not new.
        BertieError: onnx or onnxruntime is not installed, or the graph is too far from the engine.
    """
    return Source.open(model, task).export(out)
