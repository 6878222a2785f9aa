"""shap explains our pipelines and functions over our tokenizer as it does transformers'."""

import os

import numpy as np
import pytest
import torch
import transformers
from small import TINY

import bertie

os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # for texts this short compiling takes far longer than computing
shap = pytest.importorskip("shap", reason="shap is not installed")

TEXTS = ["A fine film, and a short one.", "Dull beyond words."]


@pytest.fixture(scope="module")
def pipelines(mini):
    torch.manual_seed(0)
    theirs = transformers.BertForSequenceClassification(transformers.BertConfig(**TINY, initializer_range=0.3))
    ours = bertie.BertForSequenceClassification(bertie.BertConfig(**TINY))
    ours.load_state_dict(theirs.state_dict())
    words = [library.AutoTokenizer.from_pretrained(mini) for library in (bertie, transformers)]
    return [
        library.pipeline("text-classification", model=model.eval(), tokenizer=tokenizer, top_k=None, device="cpu")
        for library, model, tokenizer in zip((bertie, transformers), (ours, theirs), words, strict=True)
    ]


def same(ours, theirs):
    for one, other in zip(ours.values, theirs.values, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(ours.data, theirs.data, strict=True):
        assert list(one) == list(other)


def test_a_pipeline_is_explained(pipelines):
    ours, theirs = pipelines
    expected = shap.Explainer(theirs, silent=True)(TEXTS, max_evals=60)
    explainer = shap.Explainer(shap.models.TransformersPipeline(ours), shap.maskers.Text(ours.tokenizer), silent=True)
    found = explainer(TEXTS, max_evals=60)
    same(found, expected)
    assert found.output_names == expected.output_names
    assert max(np.abs(values).max() for values in found.values) > 1e-3


def test_a_function_is_explained_over_a_tokenizer(pipelines):
    def scores(pipe):
        return lambda texts: np.array([[one["score"] for one in sorted(row, key=lambda one: one["label"])]
                                       for row in pipe(list(texts))])  # fmt: skip

    ours, theirs = pipelines
    expected = shap.Explainer(scores(theirs), theirs.tokenizer, silent=True)(TEXTS, max_evals=60)
    same(shap.Explainer(scores(ours), shap.maskers.Text(ours.tokenizer), silent=True)(TEXTS, max_evals=60), expected)
