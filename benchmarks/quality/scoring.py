"""Scoring trained models: the same code answers dev for all of them, and compares two of them row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import Experiment, Reading
from rows import Row

import bertie
from bertie.data.dataset import ExampleReader
from bertie.data.labelling import LabelOptions
from bertie.metrics import Scores
from bertie.metrics.streaming import paired_difference
from bertie.tasks.features import Outputs
from bertie.tasks.inference import compute_rows
from bertie.tasks.registry import find

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Answers:
    """What a model answered to dev, and the right answers."""

    metric: Any
    predictions: Any
    gold: Any

    def figures(self) -> Figures:
        """Return the figures."""
        return self._scores().metrics()

    def better_than(self, other: "Answers") -> dict[str, Any]:
        """Return by how much each figure is better than another model's, with a paired bootstrap interval."""
        difference, ends = paired_difference(self._scores(), other._scores())
        return {"difference": difference, "interval": ends}

    def _scores(self) -> Scores:
        scores = Scores(self.metric)
        scores.add(self.predictions, self.gold)
        return scores


def answers(
    experiment: Experiment, folder: Path, readings: Sequence[Reading], dev: list[Row], tune: list[Row]
) -> dict[str, Answers]:
    """Return a trained model's answers to dev, by the name of the reading."""
    found = {}
    for options, alike in _by_options(readings):
        model = _Model(experiment, folder, options)
        task, outputs = model.computed(dev)
        for reading in alike:
            own = task
            if reading.tuned:
                own = task.tune(model.computed(tune)[1])
            found[reading.name] = Answers(own.metric(), own.predictions(outputs), own.references(outputs.labels))
    return found


class _Model:
    """A trained model with its task, as labelled rows are answered by it."""

    def __init__(self, experiment: Experiment, folder: Path, options: Mapping[str, Any]) -> None:
        self.row, self.kind = find(experiment.task), experiment.kind
        self.pipe = bertie.pipeline(self.row.name, str(folder), max_length=experiment.max_length, **options)
        self.task = self.row.load_trainable().from_inference_task(self.pipe.codec)

    def computed(self, rows: list[Row]) -> tuple[Any, Outputs]:
        """Return the task suited to the rows, and what the model computes of them, with their labels."""
        reader = ExampleReader(self.row.name, options=LabelOptions(kind=self.kind))
        written = list(reader.read(rows))
        examples = list(reader.normalize(written, reader.find_labelling(written)))
        labels = [example.label for example in examples]
        task = self.task.prepare_labels(labels)
        features = task.encode([example.text for example in examples])
        return task, task.outputs(compute_rows(task, self.pipe.computing, features), features, labels)


def _by_options(readings: Sequence[Reading]) -> list[tuple[Mapping[str, Any], list[Reading]]]:
    """Return the readings that one pass of the model serves, together."""
    found: list[tuple[Mapping[str, Any], list[Reading]]] = []
    for reading in readings:
        for options, alike in found:
            if options == reading.options:
                alike.append(reading)
                break
        else:
            found.append((reading.options, [reading]))
    return found
