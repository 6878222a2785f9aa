"""The named experiments: which rows, which start, how it is trained, and who trains beside whom."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rows

from bertie.hub import default_embedding_model

MODELS = rows.DATA.parent / "models"


@dataclass(frozen=True)
class Size:
    """How much is trained; ``tune`` rows of train are learned from by nobody."""

    train: int
    dev: int | None
    epochs: int
    seeds: int
    tune: int = 0


@dataclass(frozen=True)
class System:
    """Who trains, and how. ``always``: for every seed; others train for the first one, and in whole runs alone."""

    name: str
    trainer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    always: bool = True


@dataclass(frozen=True)
class Reading:
    """How a trained model answers dev; ``tuned``: with what bertie tunes on rows kept for it."""

    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    tuned: bool = False


OURS = System("bertie", "bertie")
WHOLE = System("bertie, trained on windows", "bertie", {"windows": True})
TRAINER = System("transformers Trainer", "transformers")
GROUPED = System("transformers Trainer, grouped by length", "transformers", {"grouped": True}, always=False)
SENTENCES = System("sentence-transformers Trainer", "sentence-transformers")
PLAIN = Reading()
Line = tuple[System, Reading]


@dataclass(frozen=True)
class Experiment:
    """One comparison; each pair of ``compared`` lines is put beside each other row by row."""

    name: str
    title: str
    task: str
    figures: Sequence[str]
    read: rows.Read
    names: Callable[[rows.Row], Sequence[str]]
    start: str
    quick: Size
    whole: Size
    kind: str | None = None
    learning_rate: float = 1e-4
    batch_size: int = 32
    max_length: int = 256
    systems: Sequence[System] = (OURS, TRAINER, GROUPED)
    readings: Sequence[Reading] = (PLAIN,)
    compared: Sequence[tuple[Line, Line]] = (((OURS, PLAIN), (TRAINER, PLAIN)),)
    note: str = ""

    @property
    def base(self) -> System:
        """Whose time counts as 1."""
        return next(system for system in self.systems if system.trainer != "bertie")

    def start_folder(self) -> Path:
        """Return the checkpoint that is trained."""
        return default_embedding_model() if self.start == MINILM else MODELS / self.start


MINILM, MINI = "all-MiniLM-L6-v2", "bertie-mini-uncased"
CUT_AT = 256
CUT = Reading(f"cut at {CUT_AT} tokens")
WINDOWS = Reading("read in windows", {"windows": True})
AT_HALF = Reading("thresholds 0.5")
TUNED = Reading("tuned thresholds", tuned=True)
AT_ZERO = Reading("threshold 0")
TUNED_NONE = Reading("tuned threshold", tuned=True)


def _label(row: rows.Row) -> Sequence[str]:
    return (row["label"],)


ALL = (
    Experiment(
        name="sentiment",
        title="accuracy on short reviews",
        task="sequence-classification",
        figures=("accuracy",),
        read=rows.labelled("sentiment"),
        names=_label,
        start=MINILM,
        kind="single-label",
        quick=Size(1200, None, 2, 1),
        whole=Size(2400, None, 2, 2),
    ),
    Experiment(
        name="emotions",
        title="macro and micro F1 of 28 labels, several at a time",
        task="sequence-classification",
        figures=("f1_macro", "f1_micro"),
        read=rows.emotions,
        names=lambda row: row["labels"],
        start=MINILM,
        kind="multi-label",
        learning_rate=3e-4,
        quick=Size(2400, 2000, 2, 1, tune=800),
        whole=Size(4000, None, 3, 1, tune=2000),
        readings=(AT_HALF, TUNED),
        compared=(
            ((OURS, AT_HALF), (TRAINER, AT_HALF)),
            ((OURS, TUNED), (OURS, AT_HALF)),
            ((OURS, TUNED), (TRAINER, TUNED)),
        ),
        note="Thresholds are tuned by bertie, for both, on rows of train that none of them learned from.",
    ),
    Experiment(
        name="similarity-regression",
        title="Spearman correlation of pairs read together",
        task="sequence-classification",
        figures=("spearman", "pearson"),
        read=rows.similarity,
        names=rows.no_names,
        start=MINILM,
        kind="regression",
        quick=Size(1000, None, 2, 1),
        whole=Size(2000, None, 2, 1),
    ),
    Experiment(
        name="choices",
        title="accuracy of which of four sentences follows",
        task="multiple-choice",
        figures=("accuracy",),
        read=rows.choices,
        names=rows.no_names,
        start=MINI,
        batch_size=16,
        quick=Size(320, 400, 1, 1),
        whole=Size(480, 400, 1, 1),
        note=(
            "Made by script: a sentence of a novel, the one behind it, and three others of the same novel; dev is of "
            "ten novels that the start has never seen."
        ),
    ),
    Experiment(
        name="questions",
        title="F1 and exact match of answers",
        task="question-answering",
        figures=("f1", "exact_match"),
        read=rows.questions,
        names=rows.no_names,
        start=MINI,
        batch_size=16,
        learning_rate=2e-4,
        max_length=384,
        quick=Size(320, None, 1, 1),
        whole=Size(838, None, 2, 1),
        note="838 questions are few: what counts is whether both learn alike.",
    ),
    Experiment(
        name="questions-unanswerable",
        title="F1 where a third of the questions have no answer",
        task="question-answering",
        figures=("f1", "HasAns_f1", "NoAns_f1"),
        read=rows.unanswerable,
        names=rows.no_names,
        start=MINI,
        batch_size=16,
        learning_rate=2e-4,
        max_length=384,
        quick=Size(320, None, 1, 1, tune=100),
        whole=Size(1000, None, 2, 1, tune=200),
        readings=(AT_ZERO, TUNED_NONE),
        compared=(
            ((OURS, AT_ZERO), (TRAINER, AT_ZERO)),
            ((OURS, TUNED_NONE), (OURS, AT_ZERO)),
            ((OURS, TUNED_NONE), (TRAINER, TUNED_NONE)),
        ),
        note="Unanswerable by script: half of the questions once more, with a paragraph of another article.",
    ),
    Experiment(
        name="entities",
        title="F1 of entities as conlleval counts it",
        task="token-classification",
        figures=("f1", "precision", "recall"),
        read=rows.entities,
        names=lambda row: row["tags"],
        start=MINI,
        learning_rate=3e-4,
        quick=Size(1200, None, 2, 1),
        whole=Size(2400, None, 3, 1),
    ),
    Experiment(
        name="reviews",
        title="accuracy on documents of 750 words, with and without windows",
        task="sequence-classification",
        figures=("accuracy",),
        read=rows.labelled("reviews"),
        names=_label,
        start=MINILM,
        kind="single-label",
        learning_rate=1e-4,
        batch_size=8,
        max_length=CUT_AT,
        quick=Size(96, 100, 2, 1),
        whole=Size(160, None, 4, 1),
        systems=(OURS, WHOLE, TRAINER),
        readings=(CUT, WINDOWS),
        compared=(
            ((OURS, CUT), (TRAINER, CUT)),
            ((WHOLE, WINDOWS), (OURS, CUT)),
            ((OURS, WINDOWS), (OURS, CUT)),
        ),
        note=f"Trainer has no windows: it learns from the first {CUT_AT} tokens; bertie answers for its model either "
        "way.",
    ),
    Experiment(
        name="similarity-embedding",
        title="Spearman correlation of cosines",
        task="embedding",
        figures=("spearman", "pearson"),
        read=rows.similarity,
        names=rows.no_names,
        start=MINILM,
        learning_rate=5e-5,
        quick=Size(1000, None, 2, 1),
        whole=Size(2000, None, 2, 1),
        systems=(OURS, SENTENCES),
        compared=(((OURS, PLAIN), (SENTENCES, PLAIN)),),
        note="Both learn by the squared error of the cosine (CosineSimilarityLoss).",
    ),
)
BY_NAME = {each.name: each for each in ALL}
