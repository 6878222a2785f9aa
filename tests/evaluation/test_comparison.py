"""Two models are compared row by row, and only on the same rows."""

from pathlib import Path

import pytest
import torch

import bertie

ROWS = [{"text": "a good film", "label": label} for label in ("joy", "fear", "anger", "joy")]


def classifier(folder: Path, mini: Path, *labels: str) -> Path:
    """Save a small random classifier with these classes."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = bertie.BertConfig(**shape, id2label=dict(enumerate(labels)))
    bertie.BertForSequenceClassification(config).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(folder)
    return folder


def test_different_rows_left_out_are_noticed(mini: Path, tmp_path: Path) -> None:
    first = classifier(tmp_path / "first", mini, "joy", "fear")
    second = classifier(tmp_path / "second", mini, "joy", "anger")
    given = {"task": "text-classification", "on_bad_row": "skip", "show_progress": False}
    with pytest.raises(bertie.InputError, match="scored on 3 rows, but not on the same ones: different rows were left"):
        bertie.compare(first, second, ROWS, **given)
    same = bertie.compare(first, first, ROWS, **given)
    assert (same.rows, same.difference["accuracy"]) == (3, 0.0)
