"""Multiple choice: which of several texts fits a prompt best (BERT, section 4.4)."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from bertie.errors import InputError, InputTypeError
from bertie.metrics import Metric, MultipleChoiceMetric
from bertie.packing import Packed
from bertie.tasks.calibration import Reliability, check_temperature, confidences, find_temperature, reliability
from bertie.tasks.combining import WAYS, combined, combined_logits
from bertie.tasks.features import Array, Features, Integers, Values
from bertie.tasks.objectives import cross_entropy_sum
from bertie.tasks.parts import by_part, in_parts, part_counts
from bertie.tasks.task import check_count
from bertie.tasks.text_features import TextFeatures
from bertie.tasks.trainable import Fault, TrainableTask
from bertie.tasks.windows import in_windows, tokens_left_out

# Stands where an input has fewer choices than others: finite, and yet without weight at any temperature.
_NEVER = -1e30


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(TrainableTask):
    """An answer is ``{"choice": int, "text": str, "score": float}``: the number of the best choice, from 0.

    An input is ``{"prompt": str, "choices": [str, …]}`` or ``(prompt, [choice, …])``; inputs need not have equally
    many choices. Each choice is read with the prompt before it; in windows, it is the prompt that is read in parts.
    ``truncated`` counts what is cut off a prompt once for every choice.

    Args:
        top_k: how many choices to give; with 1 the answer stands alone, else they come as a list, best first; None
            gives all.
        window_scores: how the logits of a choice's windows become the choice's: ``"mean"`` or ``"max"``.
        temperature: what logits are divided by before they become scores (Guo et al. 2017).
    """

    top_k: int | None = 1
    window_scores: str = "mean"
    temperature: float = 1.0
    saved: ClassVar[tuple[str, ...]] = (*TrainableTask.saved, "window_scores", "temperature")
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {"window_scores": WAYS}
    metrics: ClassVar[Mapping[str, type[Metric]]] = {"": MultipleChoiceMetric}

    def __post_init__(self) -> None:
        if self.top_k is not None:
            check_count("top_k", self.top_k)
        self.check_choices(vars(self))
        check_temperature(self.temperature)

    # prompts → features

    def check(self, inputs: Sequence[Any], first: int) -> None:
        """Refuse what is no prompt with its choices.

        Raises:
            InputTypeError: naming the first such input.
            InputError: an input without choices.
        """
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
        """Return an input as prompt and choices.

        Raises:
            InputTypeError: a mapping that lacks one of them, or choices that are no list.
        """
        if isinstance(text, Mapping) and not {"prompt", "choices"} <= set(text):
            raise InputTypeError(f"A prompt given as a mapping has 'prompt' and 'choices', not {sorted(text)}.")
        prompt, choices = (text["prompt"], text["choices"]) if isinstance(text, Mapping) else text
        if not isinstance(choices, list | tuple):
            raise InputTypeError(f"The choices are {choices!r:.60} ({type(choices).__name__}); give a list of str.")
        return prompt, list(choices)

    def encode(self, inputs: Sequence[Any], first: int = 0) -> TextFeatures:
        """As `Task.encode`, with a row, or windows, for each choice."""
        self.check(inputs, first)
        read = [self.read(one) for one in inputs]
        pairs = [(prompt, choice) for prompt, choices in read for choice in choices]
        features = self._windowed(pairs) if self.windows else self._cut(pairs)
        return TextFeatures.of(in_parts(features, [len(choices) for _, choices in read]), read)

    def _windowed(self, inputs: list[Any]) -> Features:
        rows, limit = list(self._rows(inputs)), self.limit
        overlap = limit // 4 if self.overlap is None else self.overlap
        groups = [in_windows(row, limit, overlap, moving=0) for row in rows]
        left_out = [tokens_left_out(row, group, moving=0) for row, group in zip(rows, groups, strict=True)]
        return Features.from_groups(groups, left_out, [row.is_empty for row in rows])

    # features → answers

    def run(self, model: Any, packed: Packed, features: Features) -> Tensor:
        """Return the logits ``[R, 1]``."""
        del features
        logits: Tensor = model(packed, num_choices=1, return_dict=True).logits
        return logits

    def combine(self, rows: Sequence[Any], features: Features) -> list[Array]:
        """Return the logits of each input's choices."""
        logits = combined(rows, by_part(features), self.window_scores).reshape(-1)
        return np.split(logits, np.cumsum(part_counts(features)))[:-1]

    def decode(self, values: Values, features: Features) -> list[Any]:
        """Return the best choice of each input, or the ``top_k`` best."""
        assert isinstance(features, TextFeatures)
        return [self._answer(logits, texts[1]) for logits, texts in zip(values, features.texts, strict=True)]

    def _answer(self, logits: Array, choices: Sequence[str]) -> Any:
        scores = self._scores(logits)
        order = np.argsort(-logits, kind="stable").tolist()
        found = [{"choice": place, "text": choices[place], "score": scores[place]} for place in order]
        return found[0] if self.top_k == 1 else found[: self.top_k]

    def _scores(self, logits: Array) -> list[float]:
        return (torch.from_numpy(np.asarray(logits, np.float32)) / self.temperature).softmax(dim=0).tolist()

    # labels → loss and figures

    def labelled(self, features: Features, labels: Sequence[Any]) -> Features:
        """Return the features with the number of each input's right choice.

        Raises:
            InputError: there is no such choice.
        """
        gold = self.gold(labels)
        for number, (label, count) in enumerate(zip(gold, part_counts(features), strict=True)):
            if not 0 <= label < count:
                raise InputError(f"The label of input {number} is {label}; its {count} choices are 0 to {count - 1}.")
        return features.with_labels(gold)

    def gold(self, labels: Sequence[Any]) -> Integers:
        """Return the numbers of the right choices ``[N]``."""
        return np.asarray(labels, np.int64)

    def divisor(self, features: Features) -> float:
        """Return the number of inputs."""
        return float(features.num_inputs)

    def loss(self, output: Tensor, features: Features) -> Tensor:
        """Return the summed cross-entropy of logits ``[R, 1]``, of each input over its own choices."""
        assert features.labels is not None
        logits = combined_logits(output, by_part(features), self.window_scores).reshape(-1)
        counts = torch.from_numpy(part_counts(features))
        places = torch.arange(int(counts.max()))
        filled = (places < counts[:, None]).to(logits.device)
        rectangle = logits.new_full(filled.shape, _NEVER, dtype=torch.float32)
        rectangle = rectangle.masked_scatter(filled, logits.float())
        return cross_entropy_sum(rectangle, torch.from_numpy(features.labels.values).to(logits.device))

    def metric(self) -> Metric:
        """Return accuracy."""
        return MultipleChoiceMetric()

    def predictions(self, values: Values, features: Features) -> Integers:
        """Return the number of each input's best choice ``[N]``."""
        del features
        return np.array([int(np.argmax(logits)) for logits in values], np.int64)

    def named(self, prediction: Any) -> str:
        """Return a prediction in words."""
        return f"choice {int(prediction)}"

    def faults(self, values: Values, features: Features, labels: Sequence[Any]) -> list[Fault | None]:
        """Return wrong choices, the surest first to be looked at."""
        assert isinstance(features, TextFeatures)
        found: list[Fault | None] = []
        for logits, (_, choices), gold in zip(values, features.texts, self.gold(labels), strict=True):
            best = int(np.argmax(logits))
            score = self._scores(logits)[best]
            found.append(None if best == gold else Fault(score, choices[gold], choices[best], score))
        return found

    def tuned(self, values: Values, features: Features, labels: Sequence[Any]) -> Self:
        """Return the task with the likeliest temperature."""
        del features
        if not len(labels):
            return self
        temperature = find_temperature(_rectangle(values), self.gold(labels), "softmax")
        return dataclasses.replace(self, temperature=round(temperature, 4))

    def reliability(self, values: Values, features: Features, labels: Sequence[Any]) -> Reliability | None:
        """Return how often choices of each confidence are right."""
        del features
        return reliability(*confidences(_rectangle(values), self.gold(labels), "softmax", self.temperature))


def _rectangle(values: Values) -> Array:
    """Return the logits of all inputs, float64 ``[N, most choices]``."""
    wide = np.full((len(values), max(map(len, values))), _NEVER)
    for row, logits in zip(wide, values, strict=True):
        row[: len(logits)] = logits
    return wide
