"""Labels that are classes in the model's config, and the options of their losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bertie.config import IGNORED, BertConfig
from bertie.errors import InputError, counted, nearest, spelled
from bertie.rules import Rule, check_values
from bertie.tasks.arrays import Array

RULES = {
    "focal": Rule("gamma of the focal loss", "number", 0),
    "label_smoothing": Rule("the share of each label that is spread evenly over all classes", "number", 0, 1),
}


def check_loss_options(options: Mapping[str, Any]) -> None:
    """Refuse loss options that are out of range or exclude each other."""
    check_values(options, RULES)
    if options.get("focal") and options.get("label_smoothing"):
        both = " and ".join(spelled(name, options[name]) for name in RULES)
        raise InputError(f"{both} exclude each other: the focal loss is defined for a single right class; give one.")


@dataclass(frozen=True, kw_only=True)
class ClassificationTask:
    """A task that learns the classes of its model's config."""

    config: BertConfig  # the model's
    class_weights: Sequence[float] | None = None  # the weight of each class's items in the loss; None: 1
    focal: float = 0.0  # gamma of the focal loss; 0: cross-entropy
    label_smoothing: float = 0.0  # the share of each label spread evenly over all classes, in training only
    training_options: ClassVar[tuple[str, ...]] = ("class_weights", "focal", "label_smoothing")

    @property
    def loss_options(self) -> dict[str, Any]:
        """The arguments for `bertie.tasks.summed_losses`."""
        return {"weights": self.class_weights, "focal": self.focal, "smoothing": self.label_smoothing}

    def weight_of(self, classes: Array) -> float:
        """Return the total loss weight of items with these class numbers; `IGNORED` ones count 0."""
        known = classes[classes != IGNORED]
        return float(len(known) if self.class_weights is None else np.asarray(self.class_weights)[known].sum())

    def check_length(self, name: str) -> None:
        values = getattr(self, name)
        if values is not None and len(values) != self.config.num_labels:
            raise InputError(
                f"{name} has {counted(len(values), 'entry', 'entries')}, but the model has "
                f"{counted(self.config.num_labels, 'label')}."
            )

    def number_of(self, label: Any, what: str = "label") -> int:
        """Return the number of a class; refuse a class that the model does not have."""
        number = self.config.label2id.get(str(label))
        if number is None:
            known = list(self.config.label2id)
            raise InputError(
                f"The {what} {label!r:.60} is not one of the model's {len(known)} labels "
                f"({', '.join(map(repr, known[:8]))}).{nearest(str(label), known)}"
            )
        return number
