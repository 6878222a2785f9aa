"""PyTorch models for pipelines: loaded from files, or the caller's own, with the head that the task needs."""

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
    """Return the model in eval mode: loaded to ``device``, or the caller's own, moved only if a device was named."""
    if isinstance(source, str | os.PathLike):
        where = one_device("auto" if device is None else device, "device")
        # the pooler takes no part in vectors of texts and tokens: its absence needs no mention
        if row.model_class == "AutoModel":
            arguments["add_pooling_layer"] = False
        model, info = getattr(auto, row.model_class).from_pretrained(
            source, device_map=where, output_loading_info=True, **arguments
        )
        lacking = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
        if answers:
            refuse_untrained(os.fspath(source), sorted(lacking), type(model).__name__, model.config)
        return model
    if not isinstance(source, torch.nn.Module):
        raise InputTypeError(f"model is a {type(source).__name__}; give a folder, a name in the hub, or a model.")
    check_head(row, source)
    if device is not None:
        source = source.to(one_device(device, "device"))
    return source.eval()


def check_head(row: Row, model: torch.nn.Module) -> None:
    """Refuse a model, wrapped or not, that has another task's head; classes of someone's own pass if they can serve."""
    wanted = getattr(auto, row.model_class).model_class
    inner = next((part for part in model.modules() if isinstance(part, BertPreTrainedModel)), None)
    if row.head:
        fits = any(name.endswith(row.head) for name, _ in model.named_modules())
    else:
        doors: list[type[auto.AutoModel]] = [auto.AutoModel, *auto.AutoModel.__subclasses__()]
        others = tuple(door.model_class for door in doors)
        fits = wanted is BertModel or isinstance(inner, wanted) or not isinstance(inner, others)
    if inner is None or not fits:
        raise InputTypeError(
            f"{row.name!r} needs a bertie.{wanted.__name__}, and the model is a "
            f"{type(model if inner is None else inner).__name__}; load it with "
            f"bertie.{wanted.__name__}.from_pretrained(...)."
        )


def hold_deterministic(model: Any, task: Task) -> None:
    """Have a model, and what its task puts around the pooling, give each row bitwise an answer of its own."""
    layers = chain.from_iterable(getattr(task, name, ()) for name in ("token_layers", "layers"))
    make_deterministic(model, *(layer for layer in layers if isinstance(layer, torch.nn.Module)))
