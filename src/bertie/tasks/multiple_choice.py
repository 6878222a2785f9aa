"""Multiple choice: which of several texts fits a prompt best (BERT, section 4.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bertie.errors import InputError, InputTypeError
from bertie.metrics import Metric, MultipleChoiceMetric
from bertie.tasks.arrays import Array, Integers, softmax
from bertie.tasks.features import Features, Outputs, Values
from bertie.tasks.grouped_inputs import by_part, in_parts, part_counts
from bertie.tasks.model import Model
from bertie.tasks.task import check_count
from bertie.tasks.trainable import NEVER, Judged, WindowedTask, WrongAnswer
from bertie.tasks.windows import combined, in_windows, tokens_left_out

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(WindowedTask):
    """An answer is ``{"choice": int, "text": str, "score": float}``: the number of the best choice, from 0.

    An input is ``{"prompt": str, "choices": [str, …]}`` or ``(prompt, [choice, …])``; inputs need not have equally
    many choices. Each choice is read with the prompt before it; in windows, it is the prompt that is read in parts.
    ``truncated`` counts what is cut off a prompt once for every choice.

    Args:
        top_k: how many choices to give; with 1 the answer stands alone, else they come as a list, best first; None
            gives all.
    """

    top_k: int | None = 1
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": MultipleChoiceMetric}

    def __post_init__(self) -> None:
        if self.top_k is not None:
            check_count("top_k", self.top_k)
        super().__post_init__()

    # prompts → features

    def check(self, inputs: Sequence[Any], first: int) -> None:
        for number, one in enumerate(inputs, first):
            if not (isinstance(one, Mapping) or (isinstance(one, list | tuple) and len(one) == 2)):
                raise InputTypeError(
                    f"Input {number} is {one!r:.60} ({type(one).__name__}); it must be a mapping with 'prompt' and "
                    "'choices', or a prompt and a list of choices."
                )
            prompt, choices = self.read(one)
            for text in (prompt, *choices):
                if not isinstance(text, str):
                    raise InputTypeError(f"Input {number} holds {text!r:.60}; prompt and choices must be str.")
            if not choices:
                raise InputError(f"Input {number} has no choices; give two or more.")

    def read(self, text: Any) -> tuple[str, list[str]]:
        if isinstance(text, Mapping) and not {"prompt", "choices"} <= set(text):
            raise InputTypeError(f"A prompt given as a mapping has 'prompt' and 'choices', not {sorted(text)}.")
        prompt, choices = (text["prompt"], text["choices"]) if isinstance(text, Mapping) else text
        if not isinstance(choices, list | tuple):
            raise InputTypeError(f"The choices are {choices!r:.60} ({type(choices).__name__}); give a list of str.")
        return prompt, list(choices)

    def encode(self, inputs: Sequence[Any], first: int = 0) -> Features:
        self.check(inputs, first)
        read = [self.read(one) for one in inputs]
        pairs = [(prompt, choice) for prompt, choices in read for choice in choices]
        features = self._windowed(pairs) if self.windows else self._cut(pairs)
        return replace(in_parts(features, [len(choices) for _, choices in read]), texts=read)

    def _windowed(self, inputs: list[Any]) -> Features:
        rows, limit = list(self._rows(inputs)), self.limit
        overlap = limit // 4 if self.overlap is None else self.overlap
        groups = [in_windows(row, limit, overlap, moving=0) for row in rows]
        left_out = [tokens_left_out(row, group, moving=0) for row, group in zip(rows, groups, strict=True)]
        return Features.from_groups(groups, left_out, [row.is_empty for row in rows])

    # features → answers

    def run(self, model: Model, features: Features) -> Any:
        """Return the logits ``[R, 1]``."""
        return model.logits(features)

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        logits = np.reshape(super().combine(rows, by_part(features)), -1)
        return np.split(logits, np.cumsum(part_counts(features)))[:-1]

    def decode(self, outputs: Outputs) -> list[Any]:
        return [self._answer(logits, choices) for logits, choices in _with_choices(outputs)]

    def _answer(self, logits: Array, choices: Sequence[str]) -> Any:
        scores = self._scores(logits)
        order = np.argsort(-logits, kind="stable").tolist()
        found = [{"choice": place, "text": choices[place], "score": scores[place]} for place in order]
        return found[0] if self.top_k == 1 else found[: self.top_k]

    def _scores(self, logits: Array) -> list[float]:
        return softmax(np.asarray(logits, np.float32) / np.float32(self.temperature)).tolist()

    # labels → loss and figures

    def add_labels(self, features: Features, labels: Sequence[Any]) -> Features:
        gold = self.references(labels)
        for number, (label, count) in enumerate(zip(gold, part_counts(features), strict=True)):
            if not 0 <= label < count:
                raise InputError(f"The label of input {number} is {label}; its {count} choices are 0 to {count - 1}.")
        return features.with_labels(gold)

    def references(self, labels: Sequence[Any]) -> Integers:
        """Return the numbers of the right choices ``[N]``."""
        return np.asarray(labels, np.int64)

    def divisor(self, features: Features) -> float:
        return float(features.num_inputs)

    def loss(self, output: "Tensor", features: Features) -> "Tensor":
        """Return the summed cross-entropy of logits ``[R, 1]``, of each input over its own choices."""
        from bertie.tasks.summed_losses import choice_sum

        logits = combined(output, by_part(features), self.window_scores).reshape(-1)
        return choice_sum(logits, part_counts(features), features.wanted)

    def metric(self) -> Metric:
        return MultipleChoiceMetric()

    def predictions(self, outputs: Outputs) -> Integers:
        """Return the number of each input's best choice ``[N]``."""
        return np.array([int(np.argmax(logits)) for logits in outputs.values], np.int64)

    def named(self, prediction: Any) -> str:
        return f"choice {int(prediction)}"

    def errors(self, outputs: Outputs) -> list[WrongAnswer | None]:
        found: list[WrongAnswer | None] = []
        for (logits, choices), gold in zip(_with_choices(outputs), self.references(outputs.labels), strict=True):
            best = int(np.argmax(logits))
            score = self._scores(logits)[best]
            found.append(None if best == gold else WrongAnswer(score, choices[gold], choices[best], score))
        return found

    def judged(self, outputs: Outputs) -> Judged | None:
        return Judged(_rectangle(outputs.values), self.references(outputs.labels)) if len(outputs.labels) else None


def _with_choices(outputs: Outputs) -> list[tuple[Array, list[str]]]:
    """Return the logits of each input with its choices."""
    assert outputs.features.texts is not None
    choices = (choices for _, choices in outputs.features.texts)
    return list(zip(outputs.values, choices, strict=True))


def _rectangle(values: Values) -> Array:
    """Return the logits of all inputs, float64 ``[N, most choices]``."""
    wide = np.full((len(values), max(map(len, values))), NEVER)
    for row, logits in zip(wide, values, strict=True):
        row[: len(logits)] = logits
    return wide
