"""The head of a model that has learned labels before: its rows follow the names of the labels, wherever these stand."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from bertie.config import BertConfig
from bertie.data.labels import by_spelling, matching
from bertie.errors import spelled
from bertie.tasks.heads import with_rows

_CLASSIFIERS = ("BertForSequenceClassification", "BertForTokenClassification")


def has_labels(config: BertConfig | None) -> bool:
    """Whether a config is that of a model whose head has learned classes."""
    if config is None or config.problem_type == "regression":
        return False
    is_number = config.num_labels == 1 and config.problem_type is None
    made = set(config.architectures or ()) & set(_CLASSIFIERS)
    return not is_number and (bool(made) or not config.architectures or not _is_generic([*config.id2label.values()]))


def with_labels(model: Any, labels: Sequence[str]) -> list[str]:
    """Give a model's head these labels; return sentences on what became of the labels it had.

    Labels that it knows, also in other letters, keep their rows and the order that they have there; the others come
    after them, with rows that are drawn as those of a new head are.
    """
    head, old = getattr(model, "classifier", None), list(model.config.id2label.values())
    if not isinstance(head, nn.Linear):
        return []
    known = by_spelling(old) if _is_own(model) else {}
    row_of = {label: old.index(name) for label in labels if (name := matching(label, known)) is not None}
    names = [*sorted(row_of, key=row_of.__getitem__), *(label for label in labels if label not in row_of)]
    rows = [row_of.get(label) for label in names]
    if rows != list(range(len(old))):
        model.classifier = with_rows(head, rows, model._init_weights)
        model.num_labels = len(names)
    model.config.id2label = dict(enumerate(names))
    # a head without a bias has learned nothing yet
    return _said(old, names, row_of) if head.bias.any() else []


def _is_own(model: Any) -> bool:
    """Whether the head was made by a model of the same class, as far as its config says."""
    made = model.config.architectures or ()
    return not made or type(model).__name__ in made


def _said(old: Sequence[str], names: Sequence[str], row_of: dict[str, int]) -> list[str]:
    new, dropped = [name for name in names if name not in row_of], sorted(set(range(len(old))) - set(row_of.values()))
    lost = [old[row] for row in dropped]
    if not row_of:
        return [
            f"None of the data's labels ({_listed(names)}) is one of the model's ({_listed(old)}): its head starts "
            f"anew; {spelled('label_map', {new[0]: old[0]})} would say that they are the same."
        ]
    known = {name: old[row_of[name]] for name in names if name in row_of}
    found = []
    if new or lost:
        parts = [f"goes on with {_listed(list(known))}"]
        parts += [f"starts anew for {_listed(new)}"] if new else []
        parts += [f"forgets {_listed(lost)}, which no row has"] if lost else []
        found.append(f"The model's head {', '.join(parts)}.")
    respelled = [f"{before!r} as {name!r}" for name, before in known.items() if before != name]
    return [*found, *([f"The model's labels go on under other names: {_listed(respelled)}."] if respelled else [])]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _is_generic(names: Sequence[str]) -> bool:
    return list(names) == [f"LABEL_{number}" for number in range(len(names))]
