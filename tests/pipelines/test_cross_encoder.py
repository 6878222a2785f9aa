"""bertie.CrossEncoder against sentence-transformers' own, if installed, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie

PAIRS = [("where is the pet?", "A cat sat on the mat."), ("where is the pet?", "Stocks fell sharply."), ("a", "b")]
IDENTITY = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1"}}
CALLS: list[dict[str, Any]] = [
    {},
    {"activation_fn": torch.nn.Tanh()},
    {"activation_fn": torch.Tensor.bfloat16},
    {"apply_softmax": True, "batch_size": 1},
    {"convert_to_tensor": True},
    {"convert_to_numpy": False, "device": "cpu"},
]


@pytest.fixture
def make(mini: Path, tmp_path: Path) -> Any:
    """A function that writes a small random cross-encoder."""

    def written(**config: Any) -> Path:
        torch.manual_seed(0)
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
        fields = {**shape, "initializer_range": 0.3, **config}
        bertie.BertForSequenceClassification(bertie.BertConfig.from_dict(fields)).save_pretrained(tmp_path)
        bertie.BertTokenizer.from_pretrained(mini).save_pretrained(tmp_path)
        return tmp_path

    return written


@pytest.mark.parametrize("config", [{"num_labels": 1}, {"num_labels": 1, **IDENTITY}, {"num_labels": 3}], ids=str)
def test_predicts_like_the_reference(make: Any, config: dict[str, Any]) -> None:
    own = pytest.importorskip("sentence_transformers")
    folder = make(**config)
    model, reference = bertie.CrossEncoder(folder), own.CrossEncoder(str(folder), device="cpu")
    for options in CALLS:
        for pairs in (PAIRS, [list(pair) for pair in PAIRS], PAIRS[0]):
            found, expected = model.predict(pairs, **options), reference.predict(pairs, **options)
            assert type(found) is type(expected)
            assert np.shape(found) == np.shape(expected)
            np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)
    if config["num_labels"] == 1:
        documents = [second for _, second in PAIRS]
        found = model.rank("where is the pet?", documents, top_k=2, return_documents=True)
        expected = reference.rank("where is the pet?", documents, top_k=2, return_documents=True)
        assert [one["corpus_id"] for one in found] == [one["corpus_id"] for one in expected]
        assert [one["text"] for one in found] == [one["text"] for one in expected]
        np.testing.assert_allclose([one["score"] for one in found], [one["score"] for one in expected], atol=1e-5)


def test_functions_by_name(make: Any) -> None:
    model = bertie.CrossEncoder(make(num_labels=1), activation_fn="Identity", max_length=8)
    logits = model.predict(PAIRS)
    np.testing.assert_allclose(model.predict(PAIRS, activation_fn="torch.nn.Sigmoid"), 1 / (1 + np.exp(-logits)), 1e-6)
    assert (model.max_length, model.num_labels) == (8, 1)
    assert model.rank("a", []) == []
    assert model.rank("a", ["b"], convert_to_numpy=False) == model.rank("a", ["b"])
    model.activation_fn = torch.nn.Tanh()
    np.testing.assert_allclose(model.predict(PAIRS), np.tanh(logits), 1e-6)
    model.activation_fn = "Sigmoide"
    with pytest.raises(bertie.InputError, match="activation_fn is 'Sigmoide'"):
        model.predict(PAIRS)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": "query: "}, "CrossEncoder has no prompt='query: '; keep sentence-transformers' own class"),
        ({"activation_fn": "Sigmoide"}, "activation_fn is 'Sigmoide'"),
        ({"device": "cuda"}, "device is 'cuda', but the model is on 'cpu'"),
    ],
)
def test_unsupported_arguments_are_refused_by_name(make: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(bertie.BertieError, match=sentence):
        bertie.CrossEncoder(make(num_labels=1)).predict(PAIRS, **options)


def test_arguments_must_fit_the_model(make: Any) -> None:
    folder = make(num_labels=3)
    with pytest.raises(bertie.InputError, match="num_labels is 1, but the model has 3; leave it out"):
        bertie.CrossEncoder(folder, num_labels=1)
    with pytest.raises(bertie.InputError, match="The model has 3 labels, but rank needs one"):
        bertie.CrossEncoder(folder).rank("a", ["b"])
    with pytest.raises(bertie.InputError, match="Input 1 is not a pair of texts"):
        bertie.CrossEncoder(folder).predict([("a", "b"), "c"])
