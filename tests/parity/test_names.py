"""Every public name of the reference's BERT classes is offered, or stands in a row of docs/differences.md.

The tokenizers' names are walked in a file of their own.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from torch import nn
from transformers import modeling_outputs
from transformers.models.bert import modeling_bert
from transformers.utils.generic import ModelOutput

import bertie
from bertie import outputs

SECTION = "## Names that transformers has"
SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
MODELS = [name for name in vars(modeling_bert)["__all__"] if hasattr(bertie, name) and name != "BertPreTrainedModel"]
DOORS = [
    name
    for name in dir(transformers)
    if name.startswith("AutoModel") and transformers.BertConfig in getattr(transformers, name)._model_mapping
]
OUTPUTS = [name for name in vars(outputs) if re.search("^[A-Z].*Output", name) and name != "ModelOutput"]


@pytest.fixture(scope="module")
def rows() -> set[str]:
    """The names in the first column of the section's table."""
    text = (Path(__file__).parents[2] / "docs" / "differences.md").read_text(encoding="utf-8")
    section = text.split(SECTION)[1].split("\n## ")[0]
    table = [row.split("|")[1] for row in section.splitlines() if row.startswith("|")]
    return {name for cell in table for name in re.findall("`(.+?)`", cell)}


def pairs() -> Iterator[tuple[Any, Any]]:
    """Yield (the reference's object, ours) of every kind: models, configs, outputs and doors."""
    for name in MODELS:
        yield tuple(getattr(library, name)(library.BertConfig(**SIZES)) for library in (transformers, bertie))
    yield transformers.BertConfig(), bertie.BertConfig()
    for name in (*DOORS, "AutoConfig"):
        yield getattr(transformers, name), getattr(bertie, name)
    for name in OUTPUTS:
        yield (getattr(modeling_outputs, name, None) or getattr(modeling_bert, name))(), getattr(bertie, name)()
    yield ModelOutput, bertie.ModelOutput


def public(value: Any) -> set[str]:
    names = {name for name in dir(value) if not name.startswith("_") and not hasattr(nn.Module, name)}
    return {name for name in names if hasattr(value, name)}


def arguments(method: Any) -> set[str]:
    """Return the names of a method's arguments; ``**`` if it takes any, or is built in and does not say."""
    try:
        found = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return {"**"}
    return {"**" if each.kind == each.VAR_KEYWORD else each.name for each in found if each.kind != each.VAR_POSITIONAL}


def lacking() -> set[str]:
    """Return the names, and the arguments as ``method(argument=)``, that ours lack."""
    found = set()
    for theirs, ours in pairs():
        for name in public(theirs):
            if not hasattr(ours, name):
                found.add(name)
            elif inspect.isroutine(getattr(ours, name)) and "**" not in (taken := arguments(getattr(ours, name))):
                found |= {f"{name}({each}=)" for each in arguments(getattr(theirs, name)) - taken - {"**", "kwargs"}}
    return found


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_name_is_offered_or_in_a_row(rows: set[str]) -> None:
    missing = lacking()
    assert sorted(missing - rows) == [], "offer these, or give them a row"
    assert sorted(rows - missing) == [], "these are offered, or no names of the reference: take them out of the rows"


def test_every_door_and_class_is_there() -> None:
    assert len(DOORS) == 10
    for name in (*DOORS, *MODELS, *OUTPUTS, "AutoConfig", "BertConfig", "BertPreTrainedModel"):
        assert hasattr(bertie, name), name
