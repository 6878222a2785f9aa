"""PyTorch models for pipelines, loaded from files or given by the caller, with the head that the task needs."""

import os
from itertools import chain
from typing import Any

import torch

from bertie.checkpoints.fitting import refuse_untrained
from bertie.errors import InputTypeError
from bertie.layers.linear import make_deterministic
from bertie.models import auto
from bertie.models.bert import BertModel
from bertie.models.loading import one_device
from bertie.models.pretrained import BertPreTrainedModel
from bertie.tasks.registry import Row
from bertie.tasks.task import Task


def load_module(row: Row, source: Any, device: Any, arguments: dict[str, Any], answers: bool) -> Any:
    """Return the model in eval mode: loaded to ``device``, or the caller's own, moved only if a device is named."""
    if isinstance(source, str | os.PathLike):
        where = one_device("auto" if device is None else device, "device")
        # embeddings do not use the pooler, so its absence is not worth a warning
        if row.model_class == "AutoModel":
            arguments["add_pooling_layer"] = False
        model, info = getattr(auto, row.model_class).from_pretrained(
            source, device_map=where, output_loading_info=True, **arguments
        )
        untrained = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
        if answers:
            refuse_untrained(os.fspath(source), sorted(untrained), type(model).__name__, model.config)
        return model
    if not isinstance(source, torch.nn.Module):
        raise InputTypeError(f"model is a {type(source).__name__}; give a folder, a name on the hub, or a model.")
    check_head(row, source)
    if device is not None:
        source = source.to(one_device(device, "device"))
    return source.eval()


def check_head(row: Row, model: torch.nn.Module) -> None:
    """Refuse a model, wrapped or not, that has another task's head; the user's own classes pass if they may fit."""
    wanted = getattr(auto, row.model_class).model_class
    inner = next((part for part in model.modules() if isinstance(part, BertPreTrainedModel)), None)
    if row.head:
        fits = any(name.endswith(row.head) for name, _ in model.named_modules())
    else:
        auto_classes: list[type[auto.AutoModel]] = [auto.AutoModel, *auto.AutoModel.__subclasses__()]
        others = tuple(each.model_class for each in auto_classes)
        fits = wanted is BertModel or isinstance(inner, wanted) or not isinstance(inner, others)
    if inner is None or not fits:
        raise InputTypeError(
            f"{row.name!r} needs a bertie.{wanted.__name__}, but the model is a "
            f"{type(model if inner is None else inner).__name__}; load it with "
            f"bertie.{wanted.__name__}.from_pretrained(...)."
        )


def hold_deterministic(model: Any, task: Task) -> None:
    """Make the results of a model, and of its task's layers, for a row bitwise independent of the other rows."""
    layers = chain.from_iterable(getattr(task, name, ()) for name in ("token_layers", "layers"))
    make_deterministic(model, *(layer for layer in layers if isinstance(layer, torch.nn.Module)))
