"""Every module of every class is really called: a hook on each sees one call in a plain forward."""

from typing import Any

import pytest
import torch
import transformers
from torch import nn

import bertie
from bertie.checkpoints.parameters import CLASSES

SIZES = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
# lists have no forward, and only the probability of attention's dropout is used, as in transformers
UNCALLED = (nn.ModuleList,)
READ = "attention.self.dropout"


def calls(model: nn.Module, ids: torch.Tensor) -> dict[str, int]:
    """Return how often each module is called, by name."""
    called = {name: 0 for name, module in model.named_modules() if not isinstance(module, UNCALLED)}

    def count(name: str) -> None:
        called[name] += 1

    for name in called:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: count(name))
    model(ids)
    return called


@pytest.mark.parametrize("with_gradients", [False, True], ids=["inference", "gradients"])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_module_is_called_once(kind: str, with_gradients: bool) -> None:
    config = bertie.BertConfig(**SIZES)
    ids = torch.randint(1, 60, (2, 3, 7) if kind == "BertForMultipleChoice" else (3, 7))
    with torch.set_grad_enabled(with_gradients):
        found = calls(getattr(bertie, kind)(config).eval(), ids)
        expected = calls(getattr(transformers, kind)(transformers.BertConfig(**SIZES)).eval(), ids)
    assert {name for name, count in found.items() if count != 1} == {name for name in found if name.endswith(READ)}
    assert found == expected


@pytest.mark.parametrize("kind", CLASSES)
def test_a_hook_changes_the_output(kind: str) -> None:
    """Hooks are not only called: the next part reads what they return."""
    torch.manual_seed(0)
    model: Any = getattr(bertie, kind)(bertie.BertConfig(**SIZES)).eval()
    head = next((name for name in ("classifier", "qa_outputs", "cls") if hasattr(model, name)), "pooler")
    ids = torch.randint(1, 60, (2, 3, 7) if kind == "BertForMultipleChoice" else (3, 7))

    def doubled(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return tuple(2 * each for each in output) if isinstance(output, tuple) else 2 * output

    with torch.no_grad():
        before = model(ids, return_dict=False)
        getattr(model, head).register_forward_hook(doubled)
        after = model(ids, return_dict=False)
    assert not all(torch.allclose(a, b) for a, b in zip(before, after, strict=True) if isinstance(a, torch.Tensor))
