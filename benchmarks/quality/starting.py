"""The start of one seed: the rows as files, and a checkpoint whose new head all systems begin with."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from experiments import Experiment, Size
from rows import Row, sampled

import bertie
from bertie.data.labels import ordered, ordered_tags
from bertie.tasks.head_init import init_bias, log_odds, log_priors

_MODELS = {
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "multiple-choice": "AutoModelForMultipleChoice",
    "embedding": "AutoModel",
}
_PROBLEMS = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
# of sentence-transformers
_RECIPE = ("modules.json", "sentence_bert_config.json", "1_Pooling", "2_Normalize")


@dataclass(frozen=True)
class Parts:
    """The rows of an experiment, the same for every seed."""

    train: list[Row]
    tune: list[Row]
    dev: list[Row]

    @classmethod
    def of(cls, experiment: Experiment, size: Size) -> "Parts":
        """Read and draw them."""
        rows = sampled(experiment.read("train"), None, experiment.names)
        stop = min(size.train, len(rows) - size.tune)
        dev = sampled(experiment.read("dev"), size.dev, experiment.names)
        return cls(rows[:stop], rows[stop : stop + size.tune], dev)

    def write(self, folder: Path) -> None:
        """Write each part as JSON lines, and a few rows of dev that finetune() scores after its time is taken."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("train", self.train), ("dev", self.dev), ("few", self.dev[:20])):
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def make_start(experiment: Experiment, rows: Sequence[Row], seed: int, folder: Path) -> None:
    """Write a checkpoint in float32 with a head drawn by ``seed``."""
    base = experiment.start_folder()
    torch.manual_seed(seed)
    model_class = getattr(bertie, _MODELS[experiment.task])
    model = model_class.from_pretrained(base, dtype="float32", **_head(experiment, rows))
    _begin(model, experiment, rows)
    model.save_pretrained(folder)
    bertie.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    if experiment.task == "embedding":
        copy_recipe(base, folder)


def _begin(model: Any, experiment: Experiment, rows: Sequence[Row]) -> None:
    """Let the head begin at the mean of its numbers or the shares of its labels, as bertie lets a new head begin."""
    if experiment.kind == "regression":
        torch.nn.init.constant_(model.classifier.bias, sum(row["score"] for row in rows) / len(rows))
        return
    number = model.config.label2id
    names = [experiment.names(row) for row in rows]
    if not any(names):
        return
    wanted = np.zeros((len(rows), len(number)))
    for row, own in zip(wanted, names, strict=True):
        np.add.at(row, [number[name] for name in own], 1)
    several = experiment.kind == "multi-label"
    init_bias(model.classifier, log_odds(wanted) if several else log_priors(wanted.sum(axis=0)))


def copy_recipe(base: Path, folder: Path) -> None:
    """Copy what says how token vectors become a text's, where a checkpoint has it."""
    for name in _RECIPE:
        if (base / name).is_dir():
            shutil.copytree(base / name, folder / name, dirs_exist_ok=True)
        elif (base / name).exists():
            shutil.copy(base / name, folder / name)


def _head(experiment: Experiment, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the config of a head for the rows' labels, numbered as bertie numbers them."""
    if experiment.kind == "regression":
        return {"num_labels": 1, "problem_type": "regression"}
    names = [name for row in rows for name in experiment.names(row)]
    if not names:
        return {}
    order = ordered_tags if experiment.task == "token-classification" else ordered
    problem = {"problem_type": _PROBLEMS[experiment.kind]} if experiment.kind else {}
    return {"id2label": dict(enumerate(order(names))), **problem}
