"""A served model: its name, the tasks that its head supports, and how each of them reads texts."""

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

# the name in requests of both generation tasks
GENERATE = "generate"
_GENERATION_TASKS = ("text-generation", "text2text-generation")
# longer options belong to a single request and are not worth caching
_MAX_CACHED_CHARACTERS = 1_000
# tasks without a pipeline: of masked-LM heads,
SPARSE = "sparse-embedding"
# of embedding models,
SPANS = "late-chunking"
# and of every encoder that the engine computes
ATTENTION = "attention-weights"
# the options that change the computation of a row; the others only change tokenization or decoding
_COMPUTE_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "embed": ("windows", "prompt", "prompt_name"),
    "fill-mask": ("top_k", "targets"),
    ATTENTION: ("layer", "head"),
}


class ServedModel:
    """A model with a name, ready to answer."""

    reopen: "Callable[[], ServedModel]"  # loads the model again from its current files

    def __init__(self, name: str, pipelines: Mapping[str, Pipeline], batch_tokens: int | None = None) -> None:
        self.name = name
        self.tasks = tuple(pipelines)  # the main one first
        self._codecs: dict[str, Any] = {task: pipe.codec for task, pipe in pipelines.items()}
        main = pipelines[self.tasks[0]]
        self.config: BertConfig = main.codec.config
        self.tokenizer: Any = main.tokenizer
        self.writes = self.tasks[0] in _GENERATION_TASKS
        more = _tasks_without_pipeline(pipelines, self.writes)
        self._codecs |= more
        self.tasks = tuple(self._codecs)
        self.explain = main.explain
        self.queue = ModelQueue(main.computing, batch_tokens)
        # Requests with equal options share one task object, and so can share steps. Nothing may refer back to this
        # model: gc.freeze() hides it from the garbage collector, so only reference counting frees it after a reload.
        self._make_variant = partial(_make_variant, self._codecs)
        self._variant = lru_cache(maxsize=256)(self._make_variant)

    @classmethod
    def open(cls, given: str, device: str | None = None, batch_tokens: int | None = None) -> "ServedModel":
        """Return the model of a folder, a hub name, or ``NAME=FOLDER``."""
        name, _, source = given.rpartition("=") if not os.path.exists(given) else ("", "", given)
        tasks = tasks_of(source)
        two_heads = tasks == TASKS["BertForPreTraining"]
        first = _open(tasks[0], _with_both_heads(source, device) if two_heads else source, device)
        shared = first.model if isinstance(first.model, Engine) else source
        others = {task: _open(task, shared, device) for task in tasks[1:]}
        default = Path(source).resolve().name if os.path.isdir(source) else source
        made = cls(name or default, {tasks[0]: first, **others}, batch_tokens)
        made.reopen = partial(cls.open, given, device, batch_tokens)
        return made

    def task(self, name: str, **options: Any) -> Task:
        """Return one of its tasks with these options; equal options give the same object.

        ``truncation_side`` is an option too: the side on which a long text is cut.
        """
        given = tuple(sorted([(option, _hashable(value)) for option, value in options.items() if value is not None]))
        cached = len(repr(given)) < _MAX_CACHED_CHARACTERS
        return (self._variant if cached else self._make_variant)(name, given)

    def computing_task(self, name: str, **options: Any) -> Task:
        """Return the task that computes rows for the one with these options; more requests can share it."""
        if self.writes:
            return self.task(name, **options)
        known = _COMPUTE_OPTIONS.get(name, ())
        if name == "embed" and self._codecs[name].recipe.include_prompt:
            known = ("windows",)
        return self.task(name, **{option: value for option, value in options.items() if option in known})

    def max_rows(self, task: Any) -> int | None:
        """Return how many rows a step of a task may hold; None: as many as the token budget allows.

        With a seed, or without a stated length, the text generated for a row depends on the rest of its batch.
        """
        if not self.writes:
            return None
        settled = task.resolve_config(self.generation_config)
        is_open = settled.max_new_tokens is None and settled.max_length is None
        return 1 if is_open or task.seed is not None else int(task.max_rows(self.generation_config))

    @property
    def generation_config(self) -> Any:
        """The generation defaults of a model that writes, a `bertie.GenerationConfig`."""
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
    """Return the tasks that have no pipeline, or that the server computes differently from it."""
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
    # a special token in user input is plain text, except [MASK] where masks are to be filled
    plain = find(task).name != "fill-mask"
    found: Pipeline = pipeline(task, source, device=device, split_special_tokens=plain, show_progress=False)
    return found


def _with_both_heads(source: str, device: str | None) -> Any:
    """Return an engine with both heads of a checkpoint; under PyTorch, each task loads its own model."""
    return source if why_not_engine(source, device, {}) else Engine.open(source)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
