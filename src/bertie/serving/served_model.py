"""A model that is served: its name, the tasks that its head can do, and how each of them reads texts."""

import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bertie.config import BertConfig
from bertie.engine import Engine
from bertie.pipelines import Pipeline, pipeline
from bertie.pipelines.engines import why_not_engine
from bertie.pipelines.head_tasks import TASKS, tasks_of
from bertie.serving.scheduler import ModelQueue
from bertie.tasks.attention_weights import AttentionWeights
from bertie.tasks.embed import SparseEmbedding
from bertie.tasks.feature_extraction import TokenVectors
from bertie.tasks.late_chunking import LateChunking
from bertie.tasks.registry import find
from bertie.tasks.task import Task

# what requests call both tasks that write texts
GENERATE = "generate"
_WRITERS = ("text-generation", "text2text-generation")
# options that take more characters come with one request, and are not kept for others
_LONGEST_KEPT = 1_000
# what a masked-LM head does too, without a pipeline
SPARSE = "sparse-embedding"
# and an embedding model
SPANS = "late-chunking"
# what the engine gives of every model that reads
ATTENTION = "attention-weights"
# the options that change what is computed of a row; others change how it is read, or the answer
_COMPUTED_BY: Mapping[str, tuple[str, ...]] = {
    "embed": ("windows", "prompt", "prompt_name"),
    "fill-mask": ("top_k", "targets"),
    ATTENTION: ("layer", "head"),
}


class ServedModel:
    """A model with a name, ready to answer."""

    reopen: "Callable[[], ServedModel]"  # gives the model as its files are now

    def __init__(self, name: str, pipelines: Mapping[str, Pipeline], batch_tokens: int | None = None) -> None:
        self.name = name
        self.tasks = tuple(pipelines)  # the main one first
        self._codecs: dict[str, Any] = {task: pipe.codec for task, pipe in pipelines.items()}
        main = pipelines[self.tasks[0]]
        self.config: BertConfig = main.codec.config
        self.tokenizer: Any = main.tokenizer
        self.writes = self.tasks[0] in _WRITERS
        more = _tasks_without_pipeline(pipelines, self.writes)
        self._codecs |= more
        self.tasks = tuple(self._codecs)
        self.explain = main.explain
        self.queue = ModelQueue(main.computing, batch_tokens)
        # requests with the same options share an object, and with it steps; nothing refers back to this model, for what
        # the server began with is hidden from the garbage collector, and must go without it when it is read anew
        self._make_variant = partial(_make_variant, self._codecs)
        self._variant = lru_cache(maxsize=256)(self._make_variant)

    @classmethod
    def open(cls, given: str, device: str | None = None, batch_tokens: int | None = None) -> "ServedModel":
        """Return the model of a folder or name of the hub, or of ``NAME=FOLDER``."""
        name, _, source = given.rpartition("=") if not os.path.exists(given) else ("", "", given)
        tasks = tasks_of(source)
        two_heads = tasks == TASKS["BertForPreTraining"]
        first = _open(tasks[0], _with_both_heads(source, device) if two_heads else source, device)
        shared = first.model if isinstance(first.model, Engine) else source
        others = {task: _open(task, shared, device) for task in tasks[1:]}
        usual = Path(source).resolve().name if os.path.isdir(source) else source
        made = cls(name or usual, {tasks[0]: first, **others}, batch_tokens)
        made.reopen = partial(cls.open, given, device, batch_tokens)
        return made

    def task(self, name: str, **options: Any) -> Task:
        """Return one of its tasks with these options; equal options give the same object.

        ``truncation_side`` is an option too: the side of a long text that is cut off.
        """
        given = tuple(sorted([(option, _hashable(value)) for option, value in options.items() if value is not None]))
        kept = len(repr(given)) < _LONGEST_KEPT
        return (self._variant if kept else self._make_variant)(name, given)

    def computing_task(self, name: str, **options: Any) -> Task:
        """Return the task that computes rows for the one with these options."""
        if self.writes:
            return self.task(name, **options)
        known = _COMPUTED_BY.get(name, ())
        if name == "embed" and self._codecs[name].recipe.include_prompt:
            known = ("windows",)
        return self.task(name, **{option: value for option, value in options.items() if option in known})

    def rows_together(self, task: Any) -> int | None:
        """Return how many rows a step of a task may hold; None: as many as their tokens allow.

        What is written for a text by a seed depends on all texts beside it, and so does a length that is not stated.
        """
        if not self.writes:
            return None
        settled = task.resolve_config(self.generation_config)
        is_open = settled.max_new_tokens is None and settled.max_length is None
        return 1 if is_open or task.seed is not None else int(task.max_rows(self.generation_config))

    @property
    def generation_config(self) -> Any:
        """How a model that writes chooses words where a request doesn't say it, a `bertie.GenerationConfig`."""
        model: Any = self.queue.model
        return model.generation_config


def _make_variant(codecs: Mapping[str, Any], name: str, options: tuple[tuple[str, Any], ...]) -> Task:
    task, given = codecs[name], dict(options)
    side = given.pop("truncation_side", None)
    if side is not None and side != task.tokenizer.truncation_side:
        tokenizer = copy(task.tokenizer)
        tokenizer.truncation_side = side
        task = replace(task, tokenizer=tokenizer)
    found: Task = task.with_options(**given)
    return found


def _tasks_without_pipeline(pipelines: Mapping[str, Pipeline], writes: bool) -> dict[str, Task]:
    """Return what a model with these pipelines does too, or otherwise than they."""
    main = next(iter(pipelines.values()))
    given = {"tokenizer": main.tokenizer, "config": main.codec.config}
    found: dict[str, Task] = {}
    if "fill-mask" in pipelines:
        found[SPARSE] = SparseEmbedding(**given, split_special_tokens=True)
    if "feature-extraction" in pipelines:
        found["feature-extraction"] = TokenVectors(**given, split_special_tokens=True)
    if "embed" in pipelines:
        found[SPANS] = LateChunking(**{**vars(pipelines["embed"].codec), "windows": True})
    if writes:
        found[GENERATE] = main.codec
    elif isinstance(main.computing, Engine):
        found[ATTENTION] = AttentionWeights(**given, split_special_tokens=main.codec.split_special_tokens)
    return found


def _open(task: str, source: Any, device: str | None) -> Pipeline:
    # what a user types is text; only where words are to be filled in is [MASK] a token
    plain = find(task).name != "fill-mask"
    found: Pipeline = pipeline(task, source, device=device, split_special_tokens=plain, show_progress=False)
    return found


def _with_both_heads(source: str, device: str | None) -> Any:
    """Return an engine with all heads of a checkpoint; where PyTorch computes, each task loads its own model."""
    return source if why_not_engine(source, device, {}) else Engine.open(source)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
