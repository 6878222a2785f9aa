"""What the tests of the service share: a small random model of each kind, and clients of an application of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

import bertie
from bertie.serving.served_model import ServedModel
from bertie.serving.server_process import make_service
from bertie.serving.service import Limits, Service

TINY = {
    "vocab_size": 30522,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
}
TAGS = ["O", "B-person", "I-person", "B-place"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "vectors": ("BertModel", {}),
    "classes": ("BertForSequenceClassification", {"id2label": {0: "bad", 1: "fair", 2: "good"}}),
    "several": (
        "BertForSequenceClassification",
        {"id2label": {0: "a", 1: "b"}, "problem_type": "multi_label_classification"},
    ),
    "score": ("BertForSequenceClassification", {"num_labels": 1}),
    "tags": ("BertForTokenClassification", {"id2label": dict(enumerate(TAGS))}),
    "spans": ("BertForQuestionAnswering", {}),
    "words": ("BertForPreTraining", {}),
    "choices": ("BertForMultipleChoice", {}),
}


@pytest.fixture(scope="session")
def folders(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a small model of each kind."""
    place = tmp_path_factory.mktemp("served")
    words = bertie.BertTokenizer.from_pretrained(mini)
    for number, (name, (kind, config)) in enumerate(KINDS.items()):
        torch.manual_seed(number)
        getattr(bertie, kind)(bertie.BertConfig(**TINY, **config)).save_pretrained(place / name)
        words.save_pretrained(place / name)
    return {name: place / name for name in KINDS}


class Served(TestClient):
    """A client of a service of its own."""

    service: Service


@pytest.fixture
def served(folders: dict[str, Path]) -> Iterator[Callable[..., Served]]:
    """A function that serves models of these kinds, and gives a client."""
    with ExitStack() as stack:

        def open_client(*kinds: str, keys: tuple[str, ...] = (), **limits: Any) -> Served:
            models = [ServedModel.open(str(folders[kind])) for kind in kinds]
            service, app = make_service(models, Limits(**limits), keys)
            client = stack.enter_context(Served(app))
            client.service = service
            return client

        yield open_client
