"""The arguments of a fine-tuning as one validated value, which is saved in the run's folder."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bertie.data import Format
from bertie.data.dataset import Dataset
from bertie.data.labelling import LabelOptions
from bertie.data.records import is_paths, path_names
from bertie.data.split import Splits, without_old_names
from bertie.errors import InputError, InputTypeError, spelled
from bertie.finetuning.tuning import check_metric
from bertie.hub import DEFAULT_EMBEDDING_MODEL, DEFAULT_PRETRAINED_MODEL
from bertie.messages import short
from bertie.models.loading import one_device
from bertie.progress import logger
from bertie.rules import Rule, check_values
from bertie.tasks.registry import Row, find_trainable
from bertie.training import Callback, Log, Settings
from bertie.training.logs import check_tensorboard

PathOrName = str | os.PathLike[str]
# a folder, a hub name, a model; or the folders or names of an encoder and a decoder
StartModel = PathOrName | nn.Module | tuple[PathOrName, PathOrName]

# The default learning rate of LoRA.
LORA_RATE = 5e-4

RULES = {
    "lora": Rule("rank of the adapters", "integer", 1, none=True),
    "more_epochs": Rule("epochs for a finished run", "integer", 1, none=True),
    "folds": Rule("folds of train that are scored in turn", "integer", 2, none=True),
    "keep": Rule("epochs whose models are kept", "integer", 1, none=True),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The arguments of `bertie.finetune`; see there."""

    task: str
    train: Any
    model: StartModel | None = None
    dev: Any = None
    test: Any = None
    tune: InitVar[Any] = None
    out: Path | None = None
    form: str | Format | None = None
    columns: Mapping[str, str | int] | None = None
    labels: LabelOptions = dataclasses.field(default_factory=LabelOptions)
    on_bad_row: str = "error"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_weights: str | Sequence[float] | Mapping[str, float] | None = None
    lora: int | None = None
    metric: str | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)
    resume: bool = False
    more_epochs: int | None = None
    folds: int | None = None
    keep: int | None = None
    report_to: Sequence[str | Log] = ()
    callbacks: Sequence[Callback] = ()
    device: str | int | torch.device | None = None
    show_progress: bool | None = None

    def __post_init__(self, tune: Any) -> None:
        dev, test = without_old_names(self.dev, self.test, tune, self.folds)
        object.__setattr__(self, "dev", dev)
        object.__setattr__(self, "test", test)
        learns = self.row.load_trainable()
        learns.check_options(learns.resolve_aliases(self.options))
        if self.model is None:
            folder = self.row.starting_model()
            name = folder.name if folder.name == DEFAULT_PRETRAINED_MODEL else DEFAULT_EMBEDDING_MODEL
            logger.warning("No model is named: training starts from %s.", name)
            object.__setattr__(self, "model", folder)
        check_metric(self.metric, self.metrics(self.labels.kind), self.row.name)
        if self.device is not None:
            one_device(self.device, "device")
        check_values(vars(self), RULES)
        if self.folds is not None and self.test is not None:
            raise InputError(f"{spelled('folds')} scores each fold of train in turn; leave {spelled('test')} out.")
        self._check_output()
        if isinstance(self.class_weights, str) and self.class_weights != "auto":
            raise InputError(
                f"{spelled('class_weights')} is {self.class_weights!r}; give 'auto', or a number for each class."
            )

    def _check_output(self) -> None:
        if self.resume and self.out is None:
            raise InputError(f"{spelled('resume')} needs {spelled('out')}, the folder of the run to continue.")
        for name in ("more_epochs", "keep"):
            if getattr(self, name) and self.out is None:
                raise InputError(f"{spelled(name)} needs {spelled('out')}, the folder of the run.")
        for one in self.report_to:
            if one == "tensorboard":
                check_tensorboard()
                if self.out is None:
                    raise InputError(f"{spelled('report_to', one)} needs {spelled('out')}, the folder of the run.")
            elif not callable(one):
                raise InputError(f"report_to is {short(one)}; give 'tensorboard', a function of one dict, or several.")
        if not isinstance(self.callbacks, Sequence) or not all(map(callable, self.callbacks)):
            raise InputTypeError(f"callbacks is {short(self.callbacks)}; give a list of functions that take an event.")

    @property
    def row(self) -> Row:
        return find_trainable(self.task)

    def metrics(self, kind: str | None) -> list[str]:
        """Return the names of the possible metrics for a kind of data; None: for any."""
        metrics = self.row.load_trainable().metrics
        chosen = [metrics[kind]] if kind in metrics else metrics.values()
        return [name for metric in chosen for name in metric.names]

    def with_learning_rate(self, config: Any) -> "Plan":
        """Return the plan with its learning rate, which by default depends on LoRA and the model's width."""
        settings = self.settings
        adapters = self.lora is not None and settings.learning_rate is None
        encoder = None if config is None else config.get_text_config(encoder=True)
        rate = LORA_RATE if adapters else settings.rate_for(encoder)
        return dataclasses.replace(self, settings=dataclasses.replace(settings, learning_rate=rate))

    def named(self) -> dict[str, str]:
        """Return the names of the sources of train, dev and test."""
        return {name: source_name(getattr(self, name)) for name in ("train", "dev", "test")}

    def to_dict(self) -> dict[str, Any]:
        names = ("on_bad_row", "class_weights", "lora", "metric", "more_epochs", "folds", "keep")
        found = {
            "task": self.row.name,
            **{name: _as_json(getattr(self, name)) for name in ("model", "train", "dev", "test")},
            **{name: getattr(self, name) for name in names},
            "form": Format.of(self.form).said(),
            "columns": None if self.columns is None else dict(self.columns),
            **self.labels.to_dict(),
            "options": dict(self.options),
            "report_to": [one for one in self.report_to if isinstance(one, str)] or None,
            "callbacks": [_name_of(each) for each in (*self.callbacks, *self.report_to) if callable(each)] or None,
            "settings": self.settings.to_dict(),
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Job:
    """One training of a plan: its data, and the splits train, dev and test."""

    plan: Plan
    data: Dataset
    parts: Splits


def settings_from(settings: Settings | None, named: Mapping[str, Any]) -> Settings:
    """Return the settings with those of ``named`` that are not None replaced."""
    if settings is not None and not isinstance(settings, Settings):
        raise InputTypeError(f"settings is a {type(settings).__name__}; give a bertie.Settings.")
    given = {name: value for name, value in named.items() if value is not None}
    return dataclasses.replace(settings or Settings(), **given)


def is_path_or_name(source: Any) -> bool:
    """Whether a source is a path or a name, or a tuple of them, and not an object."""
    return all(map(is_path_or_name, source)) if isinstance(source, tuple) else isinstance(source, str | os.PathLike)


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _as_json(source: Any) -> Any:
    """Return paths, names and shares unchanged, and an object by its name."""
    if source is None or isinstance(source, int | float):
        return source
    several = is_paths(source) and not isinstance(source, str | os.PathLike)
    return list(map(str, source)) if several else source_name(source)


def source_name(source: Any) -> str:
    """Return a readable name of a source: a file's path, or its type."""
    if source is None or isinstance(source, int | float):
        return ""
    if is_paths(source):
        return path_names(source)
    name = getattr(source, "name_or_path", None)
    rows = f" of {len(source)} rows" if hasattr(source, "__len__") else ""
    return name or f"a {type(source).__name__}{rows}"
