"""The ways to run a model that ``bertie bench`` compares: one row each, opened in its own process."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TASKS = ("embed", "classify")
# texts to vectors or logits [N, D]
Run = Callable[[Sequence[str]], NDArray[np.float32]]


class Way(NamedTuple):
    """One way to run a model: ``open`` takes its folder, a task, and the maximum tokens of a text."""

    name: str
    open: Callable[[str, str, int | None], Run]
    tasks: tuple[str, ...] = TASKS
    package: str = ""
    int8: bool = False

    def can_run(self, task: str) -> bool:
        return task in self.tasks and not (self.package and find_spec(self.package) is None)


def _sentence_transformers(folder: str, task: str, max_length: int | None) -> Run:  # noqa: ARG001
    from sentence_transformers import SentenceTransformer

    model: Any = SentenceTransformer(folder, device="cpu", local_files_only=True)
    model.max_seq_length = max_length or model.max_seq_length
    return lambda texts: np.asarray(model.encode(list(texts), show_progress_bar=False))


def _transformers(folder: str, task: str, max_length: int | None) -> Run:  # noqa: ARG001
    import transformers

    pipe: Any = transformers.pipeline("text-classification", folder, device="cpu")
    return _logits(pipe, truncation=True, max_length=max_length, batch_size=32)


def _bertie(folder: str, task: str, max_length: int | None) -> Run:
    from bertie.pipelines import pipeline

    pipe: Any = pipeline(task, folder, device="cpu", show_progress=False, max_length=max_length)
    return pipe if task == "embed" else _logits(pipe)


def _logits(pipe: Any, **options: Any) -> Run:
    """Return a function that computes a classifier's logits in the order of its labels."""
    names = list(pipe.model.config.id2label.values())

    def run(texts: Sequence[str]) -> NDArray[np.float32]:
        answers = pipe(list(texts), top_k=None, function_to_apply="none", **options)
        rows = [{one["label"]: one["score"] for one in answer} for answer in answers]
        return np.array([[row[name] for name in names] for row in rows], dtype=np.float32)

    return run


# the first that can run is the baseline
WAYS = (
    Way("sentence-transformers", _sentence_transformers, tasks=("embed",), package="sentence_transformers"),
    Way("transformers", _transformers, tasks=("classify",), package="transformers"),
    Way("bertie", _bertie),
    Way("bertie int8", _bertie, int8=True),
)
