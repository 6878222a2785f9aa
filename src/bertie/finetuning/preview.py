"""What a fine-tuning would learn from: columns, labels and three rows as they were read, and nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.data.example import Example
from bertie.data.labelling import LabelOptions
from bertie.evaluation.evaluator import in_words
from bertie.finetuning.model_setup import start
from bertie.finetuning.plan import Plan
from bertie.finetuning.run import prepare
from bertie.progress import say_once

SHOWN = 3


@dataclass(frozen=True)
class Preview:
    """What was read.

    Attributes:
        read_as: what was read as what, in one line.
        counts: how many rows there are to learn from (``train``), to tune on and to score on; of folds, in the first.
        labels: the classes or tags, in order.
        rows: the first rows to learn from: where each stands, its text, and its label as it is learned.
        warnings: what should be known, of the data and of what becomes of the model's head.
    """

    read_as: str
    counts: dict[str, int]
    labels: list[str]
    rows: list[dict[str, Any]]
    warnings: list[str]


def preview(
    task: str,
    train: Any,
    *,
    kind: str | None = None,
    label_names: Sequence[str] | None = None,
    label_map: Mapping[Any, str] | None = None,
    first_choice: int | None = None,
    **named: Any,
) -> Preview:
    """Read and check the data of a fine-tuning as `bertie.finetune` would; arguments as there.

    Raises:
        InputError: as there, before anything is learned.
    """
    plan = Plan(task=task, train=train, labels=LabelOptions.of(kind, label_names, label_map, first_choice), **named)
    data, [parts, *_] = prepare(plan)
    counts = {"train": len(parts.train), "tune": len(parts.tune), "dev": len(parts.dev)}
    _, _, said = start(plan, data, parts.train)
    for sentence in said:
        say_once(sentence)
    rows = [_row(one) for one in parts.train[:SHOWN]]
    return Preview(data.read_as, counts, data.labels, rows, [*data.warnings, *said])


def _row(example: Example) -> dict[str, Any]:
    label = {} if example.label is None else {"label": _label(example)}
    return {"where": example.where, "text": in_words(example.text), **label}


def _label(example: Example) -> Any:
    """Return a readable label: the right choice's text, or a question's answers."""
    label, text = example.label, example.text
    if isinstance(label, Mapping):
        return [answer["text"] for answer in label["answers"]]
    return text["choices"][label] if isinstance(text, Mapping) else label
