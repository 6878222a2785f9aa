"""Zero-shot classification: labels that a model was never trained on, scored by entailment or by similarity."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bertie.errors import InputError, InputTypeError, spelled
from bertie.progress import say_once
from bertie.tasks.arrays import Array, softmax
from bertie.tasks.embed import Embed
from bertie.tasks.features import Features, Outputs
from bertie.tasks.task import Task
from bertie.tasks.text_encoder import TextEncoder
from bertie.tasks.windows import WINDOW_REDUCTIONS, reduce_windows

# Multiplies cosines before the softmax: the scale of sentence-transformers' MultipleNegativesRankingLoss.
SCALE = 20.0


@dataclass(frozen=True, kw_only=True)
class CandidateLabels(TextEncoder):
    """An answer is ``{"sequence": str, "labels": [str, …], "scores": [float, …]}``, the likeliest label first."""

    candidate_labels: Sequence[str] | str | None = None  # a str holds several, separated by commas
    hypothesis_template: str = "This example is {}."  # the sentence for a label, which replaces {}
    multi_label: bool = False  # True scores each label independently; False makes the scores sum to 1
    columns: ClassVar[tuple[tuple[str, ...], ...]] = (("text",), ("sequence",))
    single: ClassVar[str] = "a str: the labels take the place of a second text"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.candidate_labels, str | list | tuple | None):
            raise InputTypeError(f"candidate_labels is {self.candidate_labels!r:.60}; it must be a list of str.")
        if wrong := [label for label in self._given if not isinstance(label, str) or not label.strip()]:
            raise InputTypeError(f"The candidate label {wrong[0]!r:.60} is not a text; give the name of a class.")
        if not isinstance(self.multi_label, bool):
            raise InputTypeError(f"multi_label is {self.multi_label!r:.60}; it must be True or False.")
        template = self.hypothesis_template
        if not isinstance(template, str) or _sentence(template, "a") == _sentence(template, "b"):
            raise InputError(f"hypothesis_template is {template!r:.60}; it needs {{}} where the label goes.")

    @property
    def labels(self) -> list[str]:
        """The labels; refuses to return none."""
        if not self._given:
            how = spelled("candidate_labels", ["sport", "politics"])
            raise InputError(f"There is no label to choose from; name some, such as {how}.")
        return self._given

    @property
    def hypotheses(self) -> list[str]:
        """The sentence for each label."""
        return [_sentence(self.hypothesis_template, label) for label in self.labels]

    def answer(self, text: str, scores: Array) -> dict[str, Any]:
        """Return the answer to a text from the scores ``[L]`` of its labels."""
        best = np.argsort(scores)[::-1].tolist()  # ties in the reference's order
        return {
            "sequence": text,
            "labels": [self.labels[place] for place in best],
            "scores": [float(scores[place]) for place in best],
        }

    @property
    def _given(self) -> list[str]:
        if isinstance(self.candidate_labels, str):
            return [label.strip() for label in self.candidate_labels.split(",") if label.strip()]
        return list(self.candidate_labels or ())


@dataclass(frozen=True, kw_only=True)
class ZeroShot(CandidateLabels, Task):
    """Asks a natural-language inference model whether a text entails the sentence for a label (Yin et al. 2019,
    section 4).

    Every text is read together with every label, because they attend to each other in all layers. A text that is too
    long is cut, or read in windows; the label is always whole.
    """

    truncation: bool | str | None = "only_first"
    window_scores: str = "mean"  # how the logits of a text's windows are combined: "mean" or "max"
    windowed: ClassVar[int] = 0
    choices: ClassVar[Any] = {"window_scores": WINDOW_REDUCTIONS}

    def features_of(self, texts: Sequence[Any]) -> Features:
        features = super().features_of([(text, sentence) for text in texts for sentence in self.hypotheses])
        # counted once per text, though it was cut for every label
        truncated = features.truncated[:: len(self.labels)]
        return replace(features.in_parts([len(self.labels)] * len(texts)), truncated=truncated)

    def combine(self, rows: Sequence[Any], features: Features) -> Sequence[Array]:
        """Return the logits ``[L, C]`` of each text."""
        if not rows:
            return []
        logits = reduce_windows(np.stack(rows), features.by_part(), self.window_scores)
        return list(logits.reshape(features.num_inputs, len(self.labels), -1))

    def decode(self, outputs: Outputs) -> list[dict[str, Any]]:
        texts = outputs.features.texts or ()
        return [self.answer(text, self._scores(logits)) for text, logits in zip(texts, outputs.values, strict=True)]

    def _scores(self, logits: Array) -> Array:
        entailment, contradiction = self._classes
        if self.multi_label or len(logits) == 1:
            return softmax(logits[:, [contradiction, entailment]])[:, 1]
        return softmax(logits[:, entailment])

    @cached_property
    def _classes(self) -> tuple[int, int]:
        """The class numbers of entailment and contradiction, by their names, or else as in the reference.

        That is the last class for entailment, with a warning, and for contradiction the first, or the last if the first
        is entailment.
        """
        names = {str(name).lower(): number for name, number in self.config.label2id.items()}
        found = next((number for name, number in names.items() if name.startswith("entail")), None)
        if found is None:
            listed = ", ".join(map(repr, self.config.label2id))
            if not all(name.startswith("label_") for name in names) or len(names) < 2:
                raise InputError(
                    f"The model's labels are {listed}: it was not trained for natural-language inference, so it cannot "
                    "judge labels that it never saw. Use a model with the label 'entailment' (its name often contains "
                    "nli or mnli), or an embedding model such as all-MiniLM-L6-v2."
                )
            say_once(f"The model's labels are {listed}; none is named 'entailment', so the last is taken for it")
            found = len(names) - 1
        contradiction = next((number for name, number in names.items() if name.startswith("contradict")), None)
        return found, contradiction if contradiction is not None else (-1 if found == 0 else 0)


@dataclass(frozen=True, kw_only=True)
class ZeroShotSimilarity(CandidateLabels, Embed):
    """Compares a text's vector with those of the labels' sentences by their cosines.

    With ``multi_label``, or a single label, a score is the cosine itself, which is not a probability; else it is the
    softmax of `SCALE` times the cosines.
    """

    hypothesis_template: str = "This text is about {}."
    label_vectors: Array | None = None  # [L, D]; set by the pipeline
    not_options: ClassVar[tuple[str, ...]] = (*Embed.not_options, "label_vectors")

    def encode(self, inputs: Sequence[object], first: int = 0) -> Features:
        without_prompt = [TextEncoder.read(self, one, number) for number, one in enumerate(inputs, first)]
        return replace(super().encode(inputs, first), texts=without_prompt)

    def decode(self, outputs: Outputs) -> Sequence[Any]:
        if self.label_vectors is None:
            return super().decode(outputs)
        texts = outputs.features.texts or ()
        return [self.answer(text, self._scores(vector)) for text, vector in zip(texts, outputs.values, strict=True)]

    def _scores(self, vector: Array) -> Array:
        assert self.label_vectors is not None
        lengths = np.linalg.norm(self.label_vectors, axis=1) * np.linalg.norm(vector)
        cosines = self.label_vectors @ vector / np.maximum(lengths, np.finfo(np.float32).tiny)
        return cosines if self.multi_label or len(cosines) == 1 else softmax(SCALE * cosines)


def _sentence(template: str, label: str) -> str:
    try:
        return template.format(label)
    except (AttributeError, LookupError, TypeError, ValueError):
        return template
