"""BertEmbedder: text embeddings, as a step before any scikit-learn classifier."""

import os
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from bertie.estimators.estimator import Estimator
from bertie.estimators.inputs import texts_in
from bertie.tasks.sentence_transformers_writing import write_recipe
from bertie.tasks.vector_layers import width_after

if TYPE_CHECKING:
    import torch


@dataclass(eq=False, repr=False)
class BertEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """A transformer for scikit-learn: ``make_pipeline(BertEmbedder(), LogisticRegression())``.

    Args:
        model: a folder or a name on the hub; None: `all-MiniLM-L6-v2`.
        prompt, prompt_name, normalize: a text to put before every text, the name of one of the model's own prompts, and
            whether to scale vectors to length 1; None: as the model's files say.
        max_length: tokens read of a text; None: what the model allows.
        windows: True reads longer texts in windows that overlap by ``overlap`` tokens, instead of cutting them.
        batch_tokens: tokens per batch; None: what suits the device.
        device: None: CUDA if available, else the CPU.
        show_progress: True always shows progress bars, False never, None on a terminal only.

    Attributes:
        pipeline_: the `bertie.EmbedPipeline`.

    Raises:
        NotFittedError: a method that needs the fitted model is called before `fit`.
        InputTypeError: ``X`` holds something other than texts.
    """

    model: str | os.PathLike[str] | None = None
    _: KW_ONLY
    prompt: str | None = None
    prompt_name: str | None = None
    normalize: bool | None = None
    max_length: int | None = None
    windows: bool = False
    overlap: int | None = None
    batch_tokens: int | None = None
    device: "str | int | torch.device | None" = None
    show_progress: bool | None = None
    task: ClassVar[str] = "embed"

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Load the model; nothing is learned, and ``X`` and ``y`` are ignored.

        Raises:
            CheckpointError: the model's files are missing or damaged.
            InputError: an option is out of range.
        """
        del X, y
        self.pipeline_ = self._open(self.model)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 ``[n, D]``."""
        check_is_fitted(self)
        return self.pipeline_(texts_in(X))

    @property
    def _n_features_out(self) -> int:
        return int(self.pipeline_.dimension)

    def _options(self) -> dict[str, Any]:
        names = ("prompt", "prompt_name", "normalize", "max_length", "windows", "overlap")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        task = self.pipeline_.codec
        write_recipe(folder, task.recipe, width_after(task.token_layers, task.config.hidden_size))
