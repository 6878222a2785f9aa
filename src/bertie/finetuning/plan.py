"""All that a fine-tuning is told, as one checked value that goes into the run's folder."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import InputError, InputTypeError, spelled
from bertie.finetuning.labelling import LabelOptions
from bertie.reading import Format
from bertie.reading.sources import is_paths, named
from bertie.rules import short
from bertie.tasks.registry import Row, find_learned
from bertie.training import Callback, Settings
from bertie.training.tensorboard import check_tensorboard

# What LoRA learns at, where nobody says.
LORA_RATE = 5e-4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Arguments of `bertie.finetune`, which says what they mean."""

    task: str
    train: Any
    model: Any
    dev: Any = None
    tune: Any = None
    out: Path | None = None
    form: str | Format | None = None
    columns: Mapping[str, Any] | None = None
    labels: LabelOptions = dataclasses.field(default_factory=LabelOptions)
    on_bad_row: str = "error"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_weights: str | Sequence[float] | None = None
    lora: int | None = None
    metric: str | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)
    resume: bool = False
    keep: int | None = None
    tensorboard: bool = False
    callbacks: Sequence[Callback] = ()
    device: Any = None
    show_progress: bool | None = None

    def __post_init__(self) -> None:
        learns = self.row.load_trained()
        learns.check_options(learns.unaliased(self.options))
        if self.lora is not None and (isinstance(self.lora, bool) or self.lora < 1):
            raise InputError(f"lora is {self.lora}; it is the rank of the adapters, a number of at least 1.")
        self._check_output()
        if isinstance(self.class_weights, str) and self.class_weights != "auto":
            raise InputError(f"class_weights is {self.class_weights!r}; give 'auto', a list of numbers, or None.")

    def _check_output(self) -> None:
        if self.resume and self.out is None:
            raise InputError("resume needs out, the folder of the run to go on with.")
        if self.keep is not None and (isinstance(self.keep, bool) or not isinstance(self.keep, int) or self.keep < 1):
            raise InputError(
                f"{spelled('keep')} is {short(self.keep)}; it is the number of epochs whose models are kept, 1 or more."
            )
        for name in ("keep", "tensorboard"):
            if getattr(self, name) and self.out is None:
                raise InputError(f"{spelled(name)} needs {spelled('out')}, the folder of the run.")
        if self.tensorboard:
            check_tensorboard()
        if not isinstance(self.callbacks, Sequence) or not all(map(callable, self.callbacks)):
            raise InputTypeError(f"callbacks is {short(self.callbacks)}; give a list of functions of one event.")

    @property
    def row(self) -> Row:
        """The task."""
        return find_learned(self.task)

    def rated(self, config: Any) -> "Plan":
        """Return the plan with its learning rate, which LoRA and the model's width decide where nobody says."""
        settings = self.settings
        adapters = self.lora is not None and settings.learning_rate is None
        rate = LORA_RATE if adapters else settings.rate_for(config)
        return dataclasses.replace(self, settings=dataclasses.replace(settings, learning_rate=rate))

    def named(self) -> dict[str, str]:
        """Return what to call train, dev and tune."""
        return {name: called(getattr(self, name)) for name in ("train", "dev", "tune")}

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON takes it."""
        plain = {
            name: getattr(self, name)
            for name in ("on_bad_row", "class_weights", "lora", "metric", "keep")
            if getattr(self, name) is not None
        }
        columns = {} if self.columns is None else {"columns": dict(self.columns)}
        watched = [getattr(each, "__qualname__", type(each).__qualname__) for each in self.callbacks]
        form = Format.of(self.form).said()
        return {
            "task": self.row.name,
            "model": called(self.model),
            **{name: value for name, value in self.named().items() if value},
            **plain,
            **({} if form is None else {"form": form}),
            **columns,
            **self.labels.to_dict(),
            "options": dict(self.options),
            **({"tensorboard": True} if self.tensorboard else {}),
            **({"callbacks": watched} if watched else {}),
            "settings": self.settings.to_dict(),
        }


def settings_from(settings: Settings | None, named: Mapping[str, Any]) -> Settings:
    """Return the settings with those of ``named`` that are not None in their place.

    Raises:
        InputError: a value that a setting cannot have.
        InputTypeError: ``settings`` is none.
    """
    if settings is not None and not isinstance(settings, Settings):
        raise InputTypeError(f"settings is a {type(settings).__name__}; give a bertie.Settings.")
    given = {name: value for name, value in named.items() if value is not None}
    return dataclasses.replace(settings or Settings(), **given)


def is_place(source: Any) -> bool:
    """Whether a source is a path or a name, not the thing itself."""
    return isinstance(source, str | os.PathLike)


def called(source: Any) -> str:
    """Return a source's name for a person: a file's path, or what kind of thing it is."""
    if source is None or isinstance(source, int | float):
        return ""
    if is_paths(source):
        return named(source)
    name = getattr(source, "name_or_path", None)
    rows = f" of {len(source)} rows" if hasattr(source, "__len__") else ""
    return name or f"a {type(source).__name__}{rows}"
