"""Compares a small model with its original on this machine: vectors, predictions, speed, size."""

import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.batching import budget, in_batches
from bertie.compression.observe import Encoding, answer, batches_on, cosines, vectors_of
from bertie.engine import Engine
from bertie.errors import BertieError, InputError, counted, spelled
from bertie.frames import listed_texts
from bertie.models.pretrained import BertPreTrainedModel
from bertie.models.task_model import TaskModel
from bertie.packing import Packed
from bertie.tasks.features import Features

ROUNDS = 5
# outputs with scores; the first that is present is used
_SCORES = ("logits", "prediction_logits", "start_logits")


@dataclass(frozen=True)
class Comparison:
    """How a small model compares with the one it was made from."""

    texts: int  # the number compared
    cosine_mean: float  # over texts; a text's cosine is the lower of its mean vector's and its first token's
    cosine_worst: float
    agreement: float | None  # the share of equal predictions; None without a classifying head
    rate: float  # texts per second on this machine, the median of rounds in turn
    small_rate: float
    size: int  # bytes of the weights
    small_size: int

    @property
    def speed_up(self) -> float:
        return self.small_rate / self.rate

    def refuse(
        self, force: bool, *, min_worst: float = -1.0, min_mean: float = -1.0, min_agreement: float = 0.0
    ) -> None:
        """Raise a `BertieError` if the small model is not good enough, unless ``force`` is set."""
        problem = self._problem(min_worst, min_mean, min_agreement)
        if problem and not force:
            raise BertieError(f"{problem}. Nothing is written; {spelled('force', True)} writes it anyway.")

    def _problem(self, min_worst: float, min_mean: float, min_agreement: float) -> str:
        """Return why the small model is not good enough, or ""; the mean only counts if there are no predictions."""
        if not self.cosine_worst >= min_worst:  # true for NaN too
            return f"The worst text's cosine is {self.cosine_worst:.4f}, below {min_worst}"
        if self.agreement is None and not self.cosine_mean >= min_mean:
            return f"The mean cosine of the texts is {self.cosine_mean:.4f}, below {min_mean}"
        if self.agreement is not None and self.agreement < min_agreement:
            return f"Only {self.agreement:.2%} of the predictions are equal, below {min_agreement:.2%}"
        return f"It would be slower on this machine ({self.speed_up:.2f} x)" if self.speed_up < 1 else ""

    def record(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "texts": self.texts,
            "cosine_mean": round(self.cosine_mean, 5),
            "cosine_worst": round(self.cosine_worst, 5),
            "agreement": self.agreement,
            "speed_up": round(self.speed_up, 3),
            "bytes_before": self.size,
            "bytes": self.small_size,
        }

    def lines(self) -> list[str]:
        """Return the comparison as lines of text."""
        agreement = [] if self.agreement is None else [f"predictions  {self.agreement:.2%} equal"]
        return [
            f"texts        {self.texts}",
            f"cosine       {self.cosine_mean:.4f} on average, {self.cosine_worst:.4f} for the worst text",
            *agreement,
            f"texts/s      {self.rate:.1f} before, {self.small_rate:.1f} now ({self.speed_up:.2f} x)",
            f"size         {self.size / 2**20:.1f} MiB before, {self.small_size / 2**20:.1f} MiB now",
        ]


def compare(
    model: BertPreTrainedModel, small: BertPreTrainedModel, texts: Features, rounds: int = ROUNDS
) -> Comparison:
    """Return how ``small`` compares with ``model`` on ``texts``; both in eval mode, on the CPU."""
    size, small_size = (sum(each.numel() * each.element_size() for each in at.parameters()) for at in (model, small))
    both = _encoding_of(model), _encoding_of(small)
    return compare_encodings(*both, (size, small_size), _agreement(model, small, texts), texts, rounds)


def compare_encodings(
    model: Encoding,
    small: Encoding,
    sizes: tuple[int, int],
    agreement: float | None,
    texts: Features,
    rounds: int = ROUNDS,
) -> Comparison:
    """As `compare`, for anything that computes hidden states."""
    found = cosines(vectors_of(small, texts), vectors_of(model, texts))
    rate, small_rate = _rates([model, small], texts, rounds)
    mean, worst = float(found.mean()), float(found.min())
    return Comparison(len(texts.lengths), mean, worst, agreement, rate, small_rate, *sizes)


def split_texts(texts: Iterable[Any], check: Iterable[Any] | None, every: int) -> tuple[list[Any], list[Any]]:
    """Return the texts to make a model from, and those to compare it on: ``check``, by default some held out."""
    given = listed_texts(texts)
    if check is None:
        return held_out(given, every)
    compared = listed_texts(check)
    for name, found in (("texts", given), ("check", compared)):
        if not found:
            raise InputError(f"{spelled(name)} has no text.")
    return given, compared


def held_out(texts: Sequence[Any], every: int) -> tuple[list[Any], list[Any]]:
    """Hold out one in ``every`` texts (of fewer, the last); return the rest, and the held-out texts."""
    if len(texts) < 2:
        raise InputError(
            f"{spelled('texts')} has {counted(len(texts), 'text')}; give at least two, better hundreds, or "
            f"{spelled('check')} too."
        )
    held = range(min(every, len(texts)) - 1, len(texts), every)
    return [text for number, text in enumerate(texts) if number not in held], [texts[number] for number in held]


def _agreement(model: BertPreTrainedModel, small: BertPreTrainedModel, texts: Features) -> float | None:
    """Return the share of texts or tokens for which both models predict the same label or word."""
    equal = total = 0
    with torch.inference_mode():
        for _, packed in batches_on(model, texts):
            outputs = [answer(each, packed) for each in (model, small)]
            name = next((name for name in _SCORES if outputs[0].get(name) is not None), None)
            # a single number is not a choice between classes
            if name is None or model.config.problem_type == "regression" or outputs[0][name].shape[-1] < 2:
                return None
            first, second = (_predictions(output[name], name, packed, model.config.problem_type) for output in outputs)
            equal += int((first == second).sum())
            total += first.numel()
    return equal / total if total else None


def _predictions(scores: Tensor, name: str, packed: Packed, problem_type: str | None) -> Tensor:
    if name == "start_logits":  # one score per token: the best token of each text
        return torch.stack([rows.argmax() for rows in scores.split(packed.lengths)])
    return scores > 0 if problem_type == "multi_label_classification" else scores.argmax(dim=-1)


def _rates(models: Sequence[Encoding], texts: Features, rounds: int) -> list[float]:
    """Return the texts per second of each model: the median of rounds in which they take turns."""
    seconds: list[list[float]] = [[] for _ in models]
    for turn in range(rounds + 1):
        for model, spent in zip(models, seconds, strict=True):
            start = time.perf_counter()
            _encode_all(model, texts)
            if turn:  # the first is a warm-up
                spent.append(time.perf_counter() - start)
    return [len(texts.lengths) / statistics.median(spent) for spent in seconds]


def _encoding_of(model: BertPreTrainedModel) -> Encoding:
    """Return what a pipeline would compute the model with: the engine if possible, else PyTorch.

    A decoder's engine generates text and gives no hidden states.
    """
    with suppress(BertieError):
        if not model.config.is_decoder:
            return Engine.of(model)
    return TaskModel(model)


def _encode_all(model: Encoding, texts: Features) -> None:
    """Compute all texts as a pipeline would."""
    tokens, workers = budget(texts.lengths, "cpu", model.config.hidden_size, model.threads)
    model = model.with_threads(1) if workers > 1 else model

    def compute(part: list[int]) -> None:
        with model.inference():
            model.hidden_states(texts.select(part))

    for _ in in_batches(texts.lengths, compute, tokens, workers=workers):
        pass
