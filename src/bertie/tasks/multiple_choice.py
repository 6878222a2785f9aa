"""Multiple choice: which of several texts fits a prompt best (BERT, section 4.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.metrics import Metric, MultipleChoiceMetric
from bertie.tasks.arrays import PADDING_LOGIT, Array
from bertie.tasks.calibrated_tasks import CalibrationSet, SequenceTask, wrong_classes
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.operations import Loss
from bertie.tasks.task import WrongAnswer
from bertie.tasks.text_encoder import check_count, two_parts


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(SequenceTask):
    """An answer is ``{"choice": int, "text": str, "score": float}``: the number of the best choice, from 0.

    An input is ``{"prompt": str, "choices": [str, …]}`` or ``(prompt, [choice, …])``; inputs may have different
    numbers of choices. Each choice is read with the prompt before it; windows split the prompt, not the choice.
    ``truncated`` counts tokens cut off a prompt once per choice.
    """

    top_k: int | None = 1  # choices to return: 1 gives a single answer, else a list, best first; None returns all
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("prompt", "choices"),)
    windowed: ClassVar[int] = 0
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": MultipleChoiceMetric}

    def __post_init__(self) -> None:
        if self.top_k is not None:
            check_count("top_k", self.top_k)
        super().__post_init__()

    # prompts → features

    def features_of(self, texts: Sequence[Any]) -> Features:
        features = super().features_of([(prompt, choice) for prompt, choices in texts for choice in choices])
        return features.in_parts([len(choices) for _, choices in texts])

    def read(self, given: object, number: int = 0) -> tuple[str, list[str]]:
        wanted = "a mapping with 'prompt' and 'choices', or a prompt and a list of choices"
        prompt, choices = two_parts(given, number, "prompt", "choices", wanted)
        if not isinstance(choices, list | tuple):
            raise InputTypeError(
                f"The choices of input {number} are {choices!r:.60} ({type(choices).__name__}); give a list of str."
            )
        for text in (prompt, *choices):
            if not isinstance(text, str):
                raise InputTypeError(f"Input {number} holds {text!r:.60}; prompt and choices must be str.")
        if not choices:
            raise InputError(f"Input {number} has no choices; give two or more.")
        return prompt, list(choices)

    # features → answers

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        logits = np.reshape(super().combine(rows, features.by_part()), -1)
        return np.split(logits, np.cumsum(features.part_counts))[:-1]

    def decode(self, outputs: Outputs) -> list[Any]:
        answers: list[Any] = []
        for logits, choices in zip(outputs.values, _choices(outputs), strict=True):
            scores = self.probabilities(logits).tolist()
            order = np.argsort(-logits, kind="stable").tolist()
            found = [{"choice": place, "text": choices[place], "score": scores[place]} for place in order]
            answers.append(found[0] if self.top_k == 1 else found[: self.top_k])
        return answers

    # labels → loss and metrics

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        for number, (label, count) in enumerate(zip(self.references(labels), features.part_counts, strict=True)):
            if not 0 <= label < count:
                raise InputError(f"The label of input {number} is {label}; its {count} choices are 0 to {count - 1}.")
        return super().add_labels(features, labels)

    def loss(self, output: Any, features: Features) -> Loss:
        """Return the summed cross-entropy of logits ``[R, 1]``, each input's over its choices."""
        from bertie.tasks.summed_losses import choice_sum

        logits = self.combine_logits(output, features.by_part()).reshape(-1)
        return choice_sum(logits, features.part_counts, features.targets)

    def predictions(self, outputs: Outputs) -> Values:
        """Return the number of each input's best choice ``[N]``."""
        return np.array([int(np.argmax(logits)) for logits in outputs.values], np.int64)

    def describe(self, prediction: Any) -> str:
        return f"choice {int(prediction)}"

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        scores = np.array([self.probabilities(logits).max() for logits in outputs.values])
        right, given, choices = self.references(outputs.labels), self.predictions(outputs), _choices(outputs)
        return wrong_classes(right, given, scores, lambda number, choice: choices[number][choice])

    def calibration_set(self, outputs: Outputs) -> CalibrationSet | None:
        if not len(outputs.labels):
            return None
        padded = np.full((len(outputs.values), max(map(len, outputs.values))), PADDING_LOGIT)
        for row, logits in zip(padded, outputs.values, strict=True):
            row[: len(logits)] = logits
        return CalibrationSet(padded, self.references(outputs.labels))


def _choices(outputs: Outputs) -> list[list[str]]:
    assert outputs.features.texts is not None
    return [choices for _, choices in outputs.features.texts]
