"""What a fine-tuning starts from: a checkpoint with the head its labels need, its tokenizer, and the task's options."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from bertie.config import BertConfig
from bertie.errors import CheckpointError, InputError, nearest, spelled
from bertie.extras import need
from bertie.finetuning.continuing import has_labels, with_labels
from bertie.finetuning.examples import Data
from bertie.finetuning.plan import Plan
from bertie.models.loading import one_device
from bertie.pipelines.factory import load_task
from bertie.report import quietly
from bertie.tasks.example import Example
from bertie.tasks.trainable import TrainableTask
from bertie.training import local_device

# No class counts more than this many times another: a handful of rows cannot carry more.
MOST_WEIGHT = 20.0
# What a checkpoint may have a head for; that any other starts anew is no news.
PRETRAINED = ("masked-lm", "next-sentence")


def start(plan: Plan, data: Data, examples: Sequence[Example]) -> tuple[TrainableTask, Any, list[str]]:
    """Return the task with its options, the model in float32 where it is to be trained on ``examples``, and sentences.

    The sentences say what became of the labels of a model that had some.

    Raises:
        CheckpointError: the model's files are missing or damaged.
        InputError, InputTypeError: an option that does not exist or fit.
        BertieError: LoRA without peft.
    """
    row = plan.row
    learns: Any = row.load_trained()
    device = local_device() if plan.device is None else one_device(plan.device, "device")
    # a new head is the same for the same seed, and the caller's random numbers stay as they were
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(plan.settings.seed)
        head = learns.head(data.kind, data.labels)
        goes_on = "id2label" in head and (has_labels(own_config(plan.model)) or isinstance(plan.model, nn.Module))
        loading = {"dtype": "float32", "ignore_mismatched_sizes": True, **head}
        if goes_on:
            del loading["id2label"]
        with nullcontext() if row.learns in PRETRAINED else quietly():
            answers, model, _ = load_task(row, plan.model, device=device, loading=loading)
        said = with_labels(model, data.labels) if goes_on else []
        if "problem_type" in head:
            model.config.problem_type = head["problem_type"]
        task = learns.of(answers).with_options(**plan.options, **_weights(plan, data, model, examples))
        task = task.begun(model, [example.label for example in examples])
        return task, model if plan.lora is None else with_adapters(model, plan.lora), said


def own_config(model: Any) -> BertConfig | None:
    """Return a model's config before it is loaded; None where it lies in a subfolder."""
    if not isinstance(model, str | os.PathLike):
        return getattr(model, "config", None)
    try:
        return BertConfig.from_pretrained(model)
    except CheckpointError:
        return None


def with_adapters(model: nn.Module, rank: int) -> Any:
    """Return the model with LoRA on its queries and values (Hu et al. 2021, section 4.2); all of its head learns too.

    Raises:
        BertieError: peft is not installed.
    """
    peft: Any = need("peft", extra="lora", what="LoRA")
    heads = model.named_children() if hasattr(model, "bert") else ()
    learned = [name for name, part in heads if name != "bert" and any(True for _ in part.parameters())]
    if getattr(getattr(model, "bert", None), "pooler", None) is not None:
        learned.append("pooler")
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["query", "value"], modules_to_save=learned or None
    )
    return peft.get_peft_model(model, config)


def merged(model: Any) -> Any:
    """Return a plain model: adapters are added into the weights they adapt."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def _weights(plan: Plan, data: Data, model: Any, examples: Sequence[Example]) -> dict[str, Any]:
    given = plan.class_weights
    if given is None:
        return {}
    if data.kind not in ("single-label", "multi-label"):
        raise InputError(f"{spelled('class_weights')} needs a classification with classes.")
    labels = list(model.config.id2label.values())
    if isinstance(given, str):
        return {"class_weights": tuple(balanced(examples, labels, data.kind))}
    if not isinstance(given, Mapping):
        return {"class_weights": tuple(given)}
    unknown = next((name for name in given if name not in labels), None)
    if unknown is not None:
        raise InputError(
            f"{spelled('class_weights')} names {unknown!r}; the labels are {', '.join(labels)}."
            f"{nearest(unknown, labels)}"
        )
    return {"class_weights": tuple(float(given.get(label, 1.0)) for label in labels)}


def balanced(examples: Sequence[Example], labels: Sequence[str], kind: str) -> list[float]:
    """Return what each class counts so that all weigh alike, at most `MOST_WEIGHT` (scikit-learn's "balanced").

    For several labels at a time: how many rows lack the label for one that has it.
    """
    number: Mapping[str, int] = {label: index for index, label in enumerate(labels)}
    names = [[example.label] if kind == "single-label" else example.label for example in examples]
    counts = np.bincount([number[name] for each in names for name in each], minlength=len(labels))
    if kind == "multi-label":
        ratios = (len(examples) - counts) / np.maximum(counts, 1)
    else:
        ratios = len(examples) / (len(labels) * np.maximum(counts, 1))
    return [round(float(weight), 4) for weight in np.clip(ratios, 1 / MOST_WEIGHT, MOST_WEIGHT)]
