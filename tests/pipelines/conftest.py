"""Fixtures for pipelines: real texts, and small models saved with a real vocabulary."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie

TINY = {
    "vocab_size": 30522,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="session")
def texts(shared: Path) -> list[str]:
    """Three hundred real texts: sentences of reviews, and a few long reviews among them."""
    columns = []
    for name in ("sentiment", "reviews"):
        with (shared / "data" / name / "dev.csv").open(encoding="utf-8", newline="") as file:
            columns.append([row["text"] for row in csv.DictReader(file)])
    mixed = columns[0][:294]
    for place, text in zip((3, 50, 51, 120, 200, 290), columns[1], strict=False):
        mixed.insert(place, text)
    return mixed


@pytest.fixture
def tiny(minilm: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that saves a small random model of a class, with all-MiniLM's vocabulary, and returns its folder."""

    def save(name: str = "BertModel", **config: Any) -> Path:
        torch.manual_seed(0)
        folder = tmp_path / name
        getattr(bertie, name)(bertie.BertConfig(**{**TINY, **config})).save_pretrained(folder)
        bertie.BertTokenizer.from_pretrained(minilm).save_pretrained(folder)
        return folder

    return save
