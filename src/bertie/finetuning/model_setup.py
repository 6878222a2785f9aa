"""Sets up a fine-tuning: a checkpoint with the head that the labels need, its tokenizer, and the task's options."""

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from bertie.config import BertConfig
from bertie.data.example import Example
from bertie.data.labels import by_spelling, matching
from bertie.errors import CheckpointError, ConfigError, InputError, nearest, spelled
from bertie.extras import need
from bertie.finetuning.plan import Job, is_path_or_name
from bertie.finetuning.warm_start import starting_model
from bertie.messages import listed
from bertie.models.dequantizing import to_train
from bertie.models.loading import one_device
from bertie.pipelines.factory import load_task
from bertie.progress import quietly
from bertie.tasks.head_init import with_rows
from bertie.tasks.task import TrainableTask
from bertie.training import local_device

# The largest class weight: a handful of rows should not dominate.
MAX_WEIGHT = 20.0
# Tasks with a pretrained head; that any other head is newly initialised needs no warning.
PRETRAINED = ("fill-mask", "next-sentence")
_CLASSIFIERS = ("BertForSequenceClassification", "BertForTokenClassification")


def start(job: Job) -> tuple[TrainableTask, Any, list[str]]:
    """Return the task with its options, the model in float32 on its device, and messages.

    The messages say what happened to the labels that the model already had.
    """
    plan, data, examples, row = job.plan, job.data, job.parts.train, job.plan.row
    learns: Any = row.load_trainable()
    device = local_device() if plan.device is None else one_device(plan.device, "device")
    # a new head depends on the seed only, and the caller's random state is left alone
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(plan.settings.seed)
        head = learns.head(data.kind, data.labels)
        keeps_head = "id2label" in head and (has_labels(own_config(plan.model)) or isinstance(plan.model, nn.Module))
        loading = {"dtype": "float32", "ignore_mismatched_sizes": True, **head}
        if keeps_head:
            del loading["id2label"]
        source, tokenizer = starting_model(plan, loading)
        with nullcontext() if row.name in PRETRAINED else quietly():
            answers, model, _ = load_task(row, source, tokenizer, device=device, loading=loading)
        model = to_train(model, source) if is_path_or_name(source) else model
        messages = transfer_labels(model, data.labels) if keeps_head else []
        if "problem_type" in head:
            model.config.problem_type = head["problem_type"]
        row.save_columns(model.config, data.reader.found.found)
        task = learns.from_inference_task(answers).with_options(**plan.options, **_weights(job, model))
        task = task.on_train_start(model, [example.label for example in examples])
        return task, model if plan.lora is None else add_adapters(model, plan.lora), messages


def own_config(model: Any) -> BertConfig | None:
    """Return a model's config (of two models, the first's) before it is loaded; None if it is in a subfolder."""
    model = model[0] if isinstance(model, tuple) else model
    if not isinstance(model, str | os.PathLike):
        return getattr(model, "config", None)
    try:
        return BertConfig.from_pretrained(model)
    except (CheckpointError, ConfigError):
        return None


def add_adapters(model: nn.Module, rank: int) -> Any:
    """Return the model with LoRA on queries and values (Hu et al. 2021, section 4.2); the head is trained in full."""
    peft: Any = need("peft", extra="lora", what="LoRA")
    heads = model.named_children() if hasattr(model, "bert") else ()
    learned = [name for name, part in heads if name != "bert" and any(True for _ in part.parameters())]
    if getattr(getattr(model, "bert", None), "pooler", None) is not None:
        learned.append("pooler")
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["query", "value"], modules_to_save=learned or None
    )
    return peft.get_peft_model(model, config)


def merge_adapters(model: Any) -> Any:
    """Return a plain model, with adapters merged into the weights."""
    if not hasattr(model, "merge_and_unload"):
        return model
    tied = model.config.tie_word_embeddings
    with warnings.catch_warnings():
        # peft compares an encoder's embeddings with the decoder's head, and thinks that they were untied
        warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
        merged = model.merge_and_unload()
    merged.config.tie_word_embeddings = tied
    return merged


def _weights(job: Job, model: Any) -> dict[str, Any]:
    given, kind = job.plan.class_weights, job.data.kind
    if given is None:
        return {}
    if kind not in ("single-label", "multi-label"):
        raise InputError(f"{spelled('class_weights')} needs a classification with classes.")
    labels = list(model.config.id2label.values())
    if isinstance(given, str):
        return {"class_weights": tuple(balance_classes(job.parts.train, labels, kind))}
    if not isinstance(given, Mapping):
        return {"class_weights": tuple(given)}
    unknown = next((name for name in given if name not in labels), None)
    if unknown is not None:
        raise InputError(
            f"{spelled('class_weights')} names {unknown!r}; the labels are {', '.join(labels)}."
            f"{nearest(unknown, labels)}"
        )
    return {"class_weights": tuple(float(given.get(label, 1.0)) for label in labels)}


def balance_classes(examples: Sequence[Example], labels: Sequence[str], kind: str) -> list[float]:
    """Return class weights that balance the classes (scikit-learn's "balanced"), at most `MAX_WEIGHT`.

    For multi-label data, a label's weight is the ratio of rows without it to rows with it.
    """
    index_of: Mapping[str, int] = {label: index for index, label in enumerate(labels)}
    names = [[example.label] if kind == "single-label" else example.label for example in examples]
    counts = np.bincount([index_of[name] for each in names for name in each], minlength=len(labels))
    if kind == "multi-label":
        ratios = (len(examples) - counts) / np.maximum(counts, 1)
    else:
        ratios = len(examples) / (len(labels) * np.maximum(counts, 1))
    return [round(float(weight), 4) for weight in np.clip(ratios, 1 / MAX_WEIGHT, MAX_WEIGHT)]


def has_labels(config: BertConfig | None) -> bool:
    """Whether a config belongs to a model whose head was trained on classes."""
    if config is None or config.problem_type == "regression":
        return False
    is_number = config.num_labels == 1 and config.problem_type is None
    is_classifier = bool(set(config.architectures or ()) & set(_CLASSIFIERS))
    default = [f"LABEL_{number}" for number in range(len(config.id2label))]
    return not is_number and (is_classifier or not config.architectures or [*config.id2label.values()] != default)


def transfer_labels(model: Any, labels: Sequence[str]) -> list[str]:
    """Give a model's head these labels; return messages on what happened to the labels that it had.

    Labels that it knows, ignoring case, keep their rows and their order; the others come after them, with newly
    initialised rows.
    """
    head, old = getattr(model, "classifier", None), list(model.config.id2label.values())
    if not isinstance(head, nn.Linear):
        return []
    known = by_spelling(old) if _is_own(model) else {}
    row_of = {label: old.index(name) for label in labels if (name := matching(label, known)) is not None}
    names = [*sorted(row_of, key=row_of.__getitem__), *(label for label in labels if label not in row_of)]
    rows = [row_of.get(label) for label in names]
    if rows != list(range(len(old))):
        model.classifier = with_rows(head, rows, model._init_weights)
        model.num_labels = len(names)
    model.config.id2label = dict(enumerate(names))
    # a head with a zero bias is untrained
    return _label_messages(old, names, row_of) if head.bias.any() else []


def _is_own(model: Any) -> bool:
    """Whether the head was trained by a model of the same class, as far as the config says."""
    architectures = model.config.architectures or ()
    return not architectures or type(model).__name__ in architectures


def _label_messages(old: Sequence[str], names: Sequence[str], row_of: dict[str, int]) -> list[str]:
    new, dropped = [name for name in names if name not in row_of], sorted(set(range(len(old))) - set(row_of.values()))
    lost = [old[row] for row in dropped]
    if not row_of:
        return [
            f"None of the data's labels ({listed(names, 10, str)}) is one of the model's ({listed(old, 10, str)}): "
            f"its head is newly initialised; {spelled('label_map', {new[0]: old[0]})} would say that two are the same."
        ]
    known = {name: old[row_of[name]] for name in names if name in row_of}
    found = []
    if new or lost:
        parts = [f"keeps {listed(list(known), 10, str)}"]
        parts += [f"is newly initialised for {listed(new, 10, str)}"] if new else []
        parts += [f"drops {listed(lost, 10, str)}, which no row has"] if lost else []
        found.append(f"The model's head {', '.join(parts)}.")
    respelled = [f"{before!r} as {name!r}" for name, before in known.items() if before != name]
    if respelled:
        found.append(f"The model's labels are renamed: {listed(respelled, 10, str)}.")
    return found
