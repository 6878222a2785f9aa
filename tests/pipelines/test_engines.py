"""Whether the engine or PyTorch runs a pipeline, and what `explain` says about it."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from computing import of_module

import bertie
from bertie.engine import Engine
from bertie.errors import InputError, InputTypeError
from bertie.kernels import library

Tiny = Callable[..., Path]


def test_a_folder_on_a_cpu_has_the_engine(tiny: Tiny) -> None:
    pipe = bertie.pipeline("text-classification", tiny("BertForSequenceClassification"), device="cpu")
    assert isinstance(pipe.model, Engine)
    assert pipe.device == torch.device("cpu")
    assert pipe.explain().startswith("BertForSequenceClassification on the engine")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"dtype": "bfloat16"}, "the dtype is bfloat16"),
        ({"torch_dtype": torch.float64}, "the dtype is torch.float64"),
        ({"model_kwargs": {"attn_implementation": "eager"}}, "attn_implementation is for PyTorch models only"),
    ],
)
def test_some_arguments_need_pytorch(tiny: Tiny, arguments: dict[str, object], why: str) -> None:
    pipe = bertie.pipeline("text-classification", tiny("BertForSequenceClassification"), device="cpu", **arguments)
    assert isinstance(pipe.model, bertie.BertForSequenceClassification)
    assert pipe.explain().endswith(why)


@pytest.mark.parametrize("dtype", [None, "float32", torch.float32])
def test_float32_runs_on_the_engine(tiny: Tiny, dtype: object) -> None:
    assert isinstance(bertie.pipeline("embed", tiny(), device=-1, dtype=dtype).model, Engine)


def test_a_pytorch_model_runs_itself_unless_it_was_optimized(tiny: Tiny) -> None:
    model = bertie.AutoModel.from_pretrained(tiny())
    pipe = bertie.pipeline("embed", model)
    assert pipe.model is model
    assert "a PyTorch model was given" in pipe.explain()
    assert isinstance(bertie.pipeline("embed", bertie.optimize(model)).model, Engine)


def test_without_kernels_pytorch_is_used(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "best", lambda: None)
    monkeypatch.setattr(library, "why_no_kernels", lambda: "there was no compiler")
    pipe = bertie.pipeline("embed", tiny(), device="cpu")
    assert isinstance(pipe.model, bertie.BertModel)
    assert pipe.explain().endswith("PyTorch multiplies faster than NumPy, and there was no compiler")


def test_an_engine_of_another_head_is_refused(tiny: Tiny) -> None:
    engine = Engine.open(tiny())
    with pytest.raises(InputTypeError, match="'fill-mask' needs a BertForMaskedLM, but the engine runs a BertModel"):
        bertie.pipeline("fill-mask", engine)
    with pytest.raises(InputError, match="device is 'cuda', but the given engine"):
        bertie.pipeline("embed", engine, device="cuda")


def test_an_engine_with_both_pretraining_heads_serves_either_task(tiny: Tiny) -> None:
    engine = Engine.open(tiny("BertForPreTraining"))
    assert len(bertie.pipeline("fill-mask", engine)("a [MASK]")) == 5
    assert "is_next" in bertie.pipeline("next-sentence", engine)(("a dog", "a cat"))


def test_a_pickled_engine_holds_no_token(tiny: Tiny) -> None:
    engine = Engine.open(tiny(), token="hf_secret")
    assert b"hf_secret" not in pickle.dumps(engine)


@pytest.mark.parametrize(
    ("task", "name", "text"),
    [("fill-mask", "BertForMaskedLM", "a [MASK]"), ("next-sentence", "BertForNextSentencePrediction", ("a", "b"))],
)
def test_a_hook_on_a_models_head_is_called(tiny: Tiny, task: str, name: str, text: object) -> None:
    pipe = of_module(task, tiny(name))
    calls: list[object] = []
    pipe.model.cls.register_forward_hook(lambda *given: calls.append(given))
    pipe(text)
    assert len(calls) == 1
