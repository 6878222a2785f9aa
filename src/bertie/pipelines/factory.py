"""``bertie.pipeline``: makes a pipeline from a task and a model, after checking that they fit together."""

import importlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

from bertie.checkpoints.fitting import INTERCHANGEABLE_HEADS, refuse_other_head
from bertie.config import CONFIG_NAME, BertConfig
from bertie.engine import Engine
from bertie.errors import InputError, InputTypeError
from bertie.extras import need
from bertie.hub import resolve
from bertie.pipelines.engines import engine_or_reason, is_cpu
from bertie.pipelines.running import Pipeline
from bertie.progress import logger
from bertie.tasks.registry import Row, find
from bertie.tasks.sentence_transformers_config import FILES, SETTINGS, Layer, Recipe, read_activation, read_recipe
from bertie.tasks.task import Task
from bertie.tasks.vector_layers import load_layers
from bertie.tokenization.auto import AutoTokenizer

if TYPE_CHECKING:
    import torch

    Device = int | str | torch.device
    Source = str | os.PathLike[str] | Engine | torch.nn.Module

    from bertie.pipelines.embedding import EmbedPipeline
    from bertie.pipelines.paired_inputs import ChoicePipeline, QuestionAnsweringPipeline, RerankPipeline
    from bertie.pipelines.running import FillMaskPipeline, TextClassificationPipeline, TokenClassificationPipeline
    from bertie.pipelines.zero_shot import ZeroShotPipeline

Name = str | os.PathLike[str]
TokenizerSource = Name | Callable[..., Any] | None


# the names of `bertie.tasks.registry`, for editors and type checkers
@overload
def pipeline(
    task: Literal[
        "embed",
        "embedding",
        "embeddings",
        "sentence-embedding",
        "sentence-similarity",
        "similarity",
        "sts",
        "bi-encoder",
    ],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "EmbedPipeline": ...
@overload
def pipeline(
    task: Literal["fill-mask", "masked-lm", "mlm", "masked-language-modeling"],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "FillMaskPipeline": ...
@overload
def pipeline(
    task: Literal["multiple-choice", "choose"],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "ChoicePipeline": ...
@overload
def pipeline(
    task: Literal["question-answering", "questions", "answer", "qa", "extractive-qa"],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "QuestionAnsweringPipeline": ...
@overload
def pipeline(
    task: Literal["reranking", "rerank", "cross-encoder", "text-ranking", "ranking"],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "RerankPipeline": ...
@overload
def pipeline(
    task: Literal[
        "text-classification",
        "sequence-classification",
        "classification",
        "sentiment-analysis",
        "sentiment",
        "classify",
    ],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "TextClassificationPipeline": ...
@overload
def pipeline(
    task: Literal["token-classification", "ner", "tag", "tagging", "named-entity-recognition"],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "TokenClassificationPipeline": ...
@overload
def pipeline(
    task: Literal["zero-shot-classification", "zero-shot"],
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> "ZeroShotPipeline": ...
@overload
def pipeline(
    task: str,
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    **options: Any,
) -> Any: ...
def pipeline(
    task: str,
    model: "Source | None" = None,
    config: BertConfig | Name | None = None,
    tokenizer: TokenizerSource = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    device: "Device | None" = None,
    device_map: "Device | Mapping[str, Device] | None" = None,
    dtype: "torch.dtype | str | None" = None,
    torch_dtype: "torch.dtype | str | None" = None,
    trust_remote_code: bool | None = None,
    use_fast: bool = True,
    model_kwargs: dict[str, Any] | None = None,
    cache_dir: Name | None = None,
    local_files_only: bool = False,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    show_progress: bool | None = None,
    deterministic: bool = False,
    **options: Any,
) -> Any:  # the class depends on the task, and so do the arguments of its calls
    """Return a pipeline: ``bertie.pipeline("fill-mask", model="folder")("Paris is the capital of [MASK].")``.

    Args:
        task: "embed", "feature-extraction", "fill-mask", "multiple-choice", "next-sentence", "pseudo-log-likelihood"
            (also "score"), "question-answering", "reranking" (also "text-ranking"), "summarization",
            "text-classification" (also "sentiment-analysis"), "text-generation", "text2text-generation",
            "token-classification" (also "ner") or "zero-shot-classification" (by entailment, or with an embedding model
            by similarity: "zero-shot-similarity").
        model: a folder, a name on the hub, or a model; None: the task's default, which "embed", "fill-mask",
            "next-sentence", "pseudo-log-likelihood" and "zero-shot-classification" have.
        config: a config, or the name of one, instead of the model's own.
        tokenizer: a folder, a name, or a tokenizer; None: the model's.
        revision, token, cache_dir, local_files_only: which files to load from the hub, and whether to contact it.
        device: "cpu", "cuda:1", a number (negative: the CPU); None: CUDA if available.
        device_map: the same, by the reference's other name.
        dtype: of the weights; None: float32 on the CPU, on CUDA the files' own (``torch_dtype`` is its older name).
        trust_remote_code: ignored and reported; no code from a model's folder is ever run.
        use_fast: False uses the pure-Python tokenizer.
        model_kwargs: more arguments of the model's ``from_pretrained``.
        batch_size: the most texts in a batch; None sets no limit.
        batch_tokens: the most tokens in a batch; None: what suits the device.
        show_progress: True always shows a progress bar, False never, None only on a terminal and for long work.
        deterministic: True makes a text's answer on the CPU bitwise independent of the other texts in its batch (a
            model that was given as an object keeps this setting).
        **options: the task's own, such as ``top_k``; each can also be given in a call.

    Raises:
        InputError: there is no such task, a model is needed, or the tokenizer has more tokens than the model.
        InputTypeError: an option does not exist, or the tokenizer lacks what the task needs.
        CheckpointError: the model's files are missing, damaged or unsafe.
    """
    row, files = find(task), {"revision": revision, "token": token, "cache_dir": cache_dir}
    files |= {"local_files_only": local_files_only}
    source = row.default_model() if model is None else model
    if row.encoder_task and _architecture(source, files) == "BertModel":
        row = find(row.encoder_task)
    row.load_task().check_names(row.name, options, _arguments())
    loading = {"config": config, "dtype": torch_dtype if dtype is None else dtype, **(model_kwargs or {})}
    if trust_remote_code is not None:
        loading["trust_remote_code"] = trust_remote_code
    answering, found, reason = load_task(
        row,
        source,
        tokenizer,
        device=device_map if device is None else device,
        use_fast=use_fast,
        files=files,
        loading=loading,
        answers=True,
    )
    answering = answering.with_options(**{**row.saved_options(found.config), **options})
    answering.check_tokenizer()
    if deterministic and not isinstance(found, Engine):
        from bertie.pipelines.modules import hold_deterministic

        hold_deterministic(found, answering)
    made = pipeline_class(row)(
        answering,
        found,
        batch_tokens=batch_tokens,
        batch_size=batch_size,
        show_progress=show_progress,
        name=task,
        why_not_engine=reason,
    )
    if logger.isEnabledFor(logging.INFO):  # explain() takes time
        logger.info("%s with %s: %s", row.name, made.model_name or "a model", made.explain())
    return made


@cache
def _arguments() -> tuple[str, ...]:
    """Return the names of `pipeline`'s own arguments, without the task's options."""
    return tuple(name for name in signature(pipeline).parameters if name not in ("task", "options"))


def pipeline_class(row: Row) -> type[Pipeline]:
    return getattr(importlib.import_module("bertie.pipelines"), row.pipeline)


class Loaded(NamedTuple):
    """A task, the `Engine` or the PyTorch model in eval mode that runs it, and in the latter case why."""

    task: Task
    model: Any  # untyped because PyTorch may be missing
    why_not_engine: str


def load_task(
    row: Row,
    source: "Source",
    tokenizer: TokenizerSource = None,
    *,
    device: "Device | Mapping[str, Device] | None" = None,
    use_fast: bool = True,
    files: Mapping[str, Any] | None = None,
    loading: Mapping[str, Any] | None = None,
    answers: bool = False,
) -> Loaded:
    """Return a task with its default options, and the model that runs it; arguments as for `pipeline`.

    ``files`` has the arguments of the hub, ``loading`` more of ``from_pretrained``. A task that only ``answers`` is run
    by the engine if possible, and never with an untrained head.
    """
    origin = source if isinstance(source, str | os.PathLike) else getattr(source, "name_or_path", "")
    files, recipe, parts = dict(files or {}), Recipe(), row.load_task().not_options
    if "recipe" in parts and origin:
        recipe = read_recipe(resolve(origin, files=[CONFIG_NAME, *FILES], **files))
        if answers and not recipe.is_stated:
            logger.info("%r does not say how to pool tokens into a vector; mean pooling is used.", str(origin))
    files["subfolder"] = recipe.subfolder
    checks_head = answers and row.architecture in INTERCHANGEABLE_HEADS and (loading or {}).get("config") is None
    if checks_head and isinstance(source, str | os.PathLike):
        refuse_other_head(os.fspath(source), row.architecture, BertConfig.from_pretrained(source, **files))
    found: Any = "it is to be trained"
    if recipe.is_static and not answers:
        raise InputError(f"{origin!r} is a StaticEmbedding, a table without layers, which bertie does not train.")
    if recipe.is_static:
        found = _static(source, device, files)
    elif answers:
        found = engine_or_reason(row, source, device, files, loading or {})
    reason = "" if isinstance(found, Engine) else found
    if reason:
        need("torch", "torch", f"A model that the engine does not run ({reason})")
        from bertie.pipelines.modules import load_module

        found = load_module(row, source, device, {**files, **(loading or {})}, answers)
    tokenizer = _tokenizer(origin if tokenizer is None else tokenizer, use_fast, files)
    _check_vocabulary(tokenizer, found)
    given = {"tokenizer": tokenizer, "config": found.config}
    if "recipe" in parts:
        given |= {"recipe": recipe, "layers": _layers(recipe.layers, found)}
        given["token_layers"] = _layers(recipe.token_layers, found)
    if "activation" in parts and origin:
        given["activation"] = read_activation(resolve(origin, files=[CONFIG_NAME, SETTINGS], **files))
    return Loaded(row.load_task()(**given), found, reason)


def _static(source: Any, device: Any, files: Mapping[str, Any]) -> Engine:
    """Return the engine of a static embedding table."""
    if isinstance(source, Engine):
        return source
    if not is_cpu(device):
        raise InputError(f"device is {device!r}, but a StaticEmbedding looks its vectors up on the CPU; leave it out.")
    from bertie.engine.static_embedding import StaticEmbedding

    return StaticEmbedding.open_table(source, **files)


def _architecture(source: Any, files: Mapping[str, Any]) -> str:
    """Return the class name of a model, from its config if it is not loaded; empty if that does not say."""
    if not isinstance(source, str | os.PathLike):
        return source.architecture if isinstance(source, Engine) else type(source).__name__
    return next(iter(BertConfig.from_pretrained(source, **files).architectures or ()), "")


def _layers(layers: Sequence[Layer], model: Any) -> tuple[Any, ...]:
    """Load the layers around the pooling, for arrays or tensors as the model returns them."""
    loaded = load_layers(layers)
    if isinstance(model, Engine):
        return loaded
    from bertie.layers.vector_modules import as_modules

    return as_modules(loaded, model.device)


def _check_vocabulary(tokenizer: Any, model: Any) -> None:
    """Refuse a tokenizer with more tokens than the model has embeddings."""
    halves = (model.config.get_text_config(encoder=True), model.config.get_text_config(decoder=True))
    words, rows = len(tokenizer), min(int(half.vocab_size) for half in halves)
    if words > rows:
        raise InputError(
            f"The tokenizer has {words} tokens, but the model's embeddings only {rows}: they do not belong together; "
            "give the model's own tokenizer, or call model.resize_token_embeddings(len(tokenizer)) and train."
        )


def _tokenizer(tokenizer: Any, use_fast: bool, files: dict[str, Any]) -> Any:
    if not tokenizer and isinstance(tokenizer, str):
        raise InputError("Give a tokenizer, too: this model does not know which folder it was loaded from.")
    if isinstance(tokenizer, str | os.PathLike):
        return AutoTokenizer.from_pretrained(tokenizer, use_fast=use_fast, **files)
    if not callable(tokenizer):
        raise InputTypeError(f"tokenizer is a {type(tokenizer).__name__}; give a folder, a name, or a tokenizer.")
    return tokenizer
