"""The base classes: `Estimator`, whose pipeline is pickled and saved as files in hub layout, never as pickled modules.

`LearningEstimator` adds the parameters of `bertie.finetune`, the call of it, and its results.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from bertie.errors import CheckpointError
from bertie.extras import need
from bertie.files import make_folder, read_json, write_json
from bertie.pipelines import pipeline
from bertie.settings import Settings
from bertie.tasks.registry import find

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bertie.training import History

# holds the estimator's parameters and attributes, beside the model's own files
STATE_FILE = "estimator.json"


class Estimator(BaseEstimator):
    """A scikit-learn estimator around a `bertie.Pipeline`. Subclasses are dataclasses of their parameters."""

    task: ClassVar[str]
    pipeline_: Any  # the fitted one

    # scikit-learn's protocol

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "pipeline_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array, tags.input_tags.string = True, False, True
        return tags

    # files

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save the fitted model in hub layout; `from_pretrained`, `bertie.pipeline` and ``transformers`` load it.

        Raises:
            CheckpointError: a file cannot be written.
        """
        check_is_fitted(self)
        folder = Path(folder)
        self._write(folder)
        state = {"class": type(self).__name__, "parameters": self._json_params(), **self._saved_state()}
        write_json(folder / STATE_FILE, state)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **parameters: Any) -> Self:
        """Return a fitted estimator.

        Args:
            folder: what `save_pretrained` wrote, or any model for the task: a folder, or a name on the hub.
            **parameters: values that replace the saved parameters, such as ``device``.

        Raises:
            CheckpointError: the files are missing or damaged, or another estimator's.
        """
        path = Path(folder) / STATE_FILE
        state: dict[str, Any] = read_json(path, "estimator") if path.exists() else {"class": cls.__name__}
        if state.get("class") != cls.__name__:
            raise CheckpointError(f"{str(path)!r} is of a {state.get('class')!r:.60}; load it with that class.")
        saved = state.get("parameters", {})
        if isinstance(saved, dict) and "tune" in saved:
            saved["dev"] = saved.pop("tune")  # its name in older versions
        known = {field.name for field in fields(cls)}
        if not isinstance(saved, dict) or not set(saved) <= known:
            raise CheckpointError(
                f"{str(path)!r} has parameters that {cls.__name__} lacks; load it with the version that saved it."
            )
        if isinstance(saved.get("settings"), dict):
            saved["settings"] = Settings(**saved["settings"])
        estimator = cls(**{"model": os.fspath(folder), **saved, **parameters})
        estimator.pipeline_ = estimator._open(folder)
        estimator._restore(state)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        """Return the state, with the model as a mapping of file names to bytes."""
        state = dict(super().__getstate__())
        state.pop("_folder", None)
        if state.pop("pipeline_", None) is not None:
            with TemporaryDirectory() as folder:
                self._write(Path(folder))
                files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
                state["_files"] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            # weights stay memory-mapped, so the files must live as long as the estimator
            self._folder = TemporaryDirectory(ignore_cleanup_errors=True)
            for name, content in files.items():
                path = Path(self._folder.name, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self.pipeline_ = self._open(self._folder.name)

    # hooks for subclasses

    def _options(self) -> dict[str, Any]:
        """Return the task's options that are not saved with the model."""
        return {}

    def _saved_state(self) -> dict[str, Any]:
        """Return what `_restore` needs, as JSON."""
        return {}

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Set the fitted attributes besides ``pipeline_``, from `_saved_state` if ``saved`` has it."""

    def _write(self, folder: Path) -> None:
        pipe = self.pipeline_
        make_folder(folder)
        find(self.task).save_options(pipe.model.config, pipe.codec)
        pipe.model.save_pretrained(folder)
        pipe.tokenizer.save_pretrained(folder)

    def _open(self, folder: str | os.PathLike[str] | None) -> Any:
        params: dict[str, Any] = self.get_params(deep=False)
        named = {name: params[name] for name in ("device", "batch_tokens", "show_progress") if name in params}
        return pipeline(self.task, folder, **named, **self._options())

    def _json_params(self) -> dict[str, Any]:
        """Return the parameters that JSON can store."""
        found = {}
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, Settings):
                value = value.to_dict()
            elif isinstance(value, os.PathLike):
                value = os.fspath(value)
            if value is None or isinstance(value, bool | int | float | str | dict):
                found[name] = value
        return found


@dataclass(eq=False, repr=False)
class LearningEstimator(Estimator):
    """Takes the parameters of `bertie.finetune`, in its signature and stored unchanged, as scikit-learn requires."""

    model: "str | os.PathLike[str] | nn.Module"
    _: KW_ONLY
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    max_length: int | None = None
    windows: bool | None = None
    overlap: int | None = None
    dev: Any = None
    patience: int | None = None
    lora: int | None = None
    settings: Settings | None = None
    seed: int | None = None
    device: "str | int | torch.device | None" = None
    show_progress: bool | None = None

    @property
    def history_(self) -> "History | None":
        """The training history; None for a loaded estimator."""
        if self._history is None:
            return None
        from bertie.training import History

        return History.from_dict(self._history)

    def _learn(self, rows: Sequence[Mapping[str, Any]], kind: str | None = None, **more: Any) -> None:
        """Fine-tune on all rows except those held out as dev, without a test set: scoring is up to the caller."""
        need("torch", "torch", "Fine-tuning")
        from bertie.finetuning import finetune

        given = {field.name: getattr(self, field.name) for field in fields(LearningEstimator)}
        result = finetune(self.task, rows, test=0, kind=kind, **given, **more)
        self.pipeline_ = result.pipeline
        self.pipeline_.show_progress = self.show_progress
        self.metrics_: dict[str, float | None] = result.history.best_metrics
        # as JSON types, so that the estimator can be unpickled where PyTorch is not installed
        self._history: dict[str, Any] | None = result.history.to_dict()

    def _scores(self, texts: Sequence[Any]) -> NDArray[np.float32]:
        """Return the scores of all labels ``[n, C]``, in the order of the model's labels."""
        numbers = self.pipeline_.model.config.label2id
        found = np.zeros((len(texts), len(numbers)), np.float32)
        for row, answer in zip(found, self.pipeline_(texts, top_k=None) if len(texts) else [], strict=True):
            for one in answer:
                row[numbers[one["label"]]] = one["score"]
        return found

    def _restore(self, saved: Mapping[str, Any]) -> None:
        del saved
        self.metrics_, self._history = {}, None
