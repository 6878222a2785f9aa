"""Shared fixtures: a small random model of each kind, clients of an application, server processes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
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
    "writes": ("BertLMHeadModel", {"is_decoder": True}),
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
    halves = [bertie.BertConfig(**TINY) for _ in range(2)]
    both = bertie.EncoderDecoderConfig.from_encoder_decoder_configs(*halves)
    bertie.EncoderDecoderModel(both).save_pretrained(place / "pair")
    words.save_pretrained(place / "pair")
    return {name: place / name for name in (*KINDS, "pair")}


class Served(TestClient):
    """A client with its own service."""

    service: Service


@pytest.fixture
def served(folders: dict[str, Path]) -> Iterator[Callable[..., Served]]:
    """A function that serves models of these kinds and returns a client."""
    with ExitStack() as stack:

        def open_client(*kinds: str, keys: tuple[str, ...] = (), **limits: Any) -> Served:
            models = [ServedModel.open(str(folders[kind])) for kind in kinds]
            service, app = make_service(models, Limits(**limits), keys)
            client = stack.enter_context(Served(app))
            client.service = service
            return client

        yield open_client


class Process:
    """A ``bertie serve`` process and its address."""

    def __init__(self, *arguments: str, most_files: int | None = None, **environment: str) -> None:
        command = [sys.executable, "-m", "bertie", "serve", *arguments, "--port", "0"]
        if most_files is not None:
            command = ["sh", "-c", f'ulimit -n {most_files}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        assert self.process.stderr is not None
        self.began = self.process.stderr.readline()
        self.url = self.began.rpartition(" at ")[2].strip()

    def post(self, path: str, body: Any, **more: Any) -> Any:
        return httpx2.post(self.url + path, json=body, timeout=240, **more)

    def connect(self) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=240)

    def workers(self) -> list[int]:
        """Return the worker processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def said(self, words: str) -> str:
        """Return the next line of standard error that has these words."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if words in line)

    def end(self) -> tuple[int, str]:
        """Send SIGTERM; return the exit code, and what was written to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=240)
        return self.process.returncode, said


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    with ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> Process:
            begun = Process(*arguments, **environment)
            stack.callback(begun.process.kill)
            return begun

        yield start
