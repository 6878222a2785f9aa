"""Text classification: the label of a text or a pair, several labels, or a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bertie.errors import InputError
from bertie.packing import Packed
from bertie.tasks.features import Features
from bertie.tasks.task import Task, check_count

FUNCTIONS = ("sigmoid", "softmax", "none")


@dataclass(frozen=True, kw_only=True)
class TextClassification(Task):
    """An answer is ``{"label": str, "score": float}``; with ``top_k`` named, a list of them, best first.

    Args:
        top_k: how many labels to give; None gives all. The empty string, as in the reference, is "not named": the
            best label alone.
        function_to_apply: what turns logits into scores: ``"sigmoid"``, ``"softmax"``, ``"none"``; None (or
            ``"default"``) follows the config: nothing for regression, sigmoid for several labels at a time or a
            single one, else softmax.
    """

    top_k: int | str | None = ""
    function_to_apply: str | None = None

    def __post_init__(self) -> None:
        if self.top_k not in ("", None):
            check_count("top_k", self.top_k)
        if self.function_to_apply not in (None, "default", *FUNCTIONS):
            raise InputError(
                f"function_to_apply is {self.function_to_apply!r}; allowed are {', '.join(FUNCTIONS)} and 'default'."
            )

    def run(self, model: Any, packed: Packed) -> Tensor:
        """Return the logits ``[B, C]``."""
        logits: Tensor = model(packed, return_dict=True).logits
        return logits

    def decode(self, output: Tensor, features: Features) -> list[Any]:
        """Return the labels of each text with their scores."""
        del features
        return [self._labels(scores) for scores in self._scores(output.float()).tolist()]

    def laid_out(self, answers: list[Any], inputs: Any, single: bool, named: Sequence[str]) -> Any:
        """As `Task.laid_out`; as in the reference, one str is answered by a list unless ``top_k`` is named."""
        if isinstance(inputs, str) and "top_k" not in named:
            return answers
        return super().laid_out(answers, inputs, single, named)

    def _labels(self, scores: list[float]) -> Any:
        names = self.config.id2label
        best = sorted(range(len(scores)), key=lambda index: -scores[index])
        found = [{"label": names[index], "score": scores[index]} for index in best]
        if self.top_k == "":
            return found[0]
        return found if self.top_k is None else found[: int(self.top_k)]

    def _scores(self, logits: Tensor) -> Tensor:
        function = self.function_to_apply
        if function in (None, "default"):
            function = self._usual_function()
        if function == "none":
            return logits
        return logits.sigmoid() if function == "sigmoid" else logits.softmax(dim=-1)

    def _usual_function(self) -> str:
        kind = self.config.problem_type
        if kind == "regression":
            return "none"
        return "sigmoid" if kind == "multi_label_classification" or self.config.num_labels == 1 else "softmax"
