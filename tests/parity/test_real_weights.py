"""Real checkpoints, real text: masked-LM and next-sentence logits of bertie-mini, hidden states of all-MiniLM."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from harness import scaled_difference

import bertie

Record = Callable[[str, Any], None]


def sentence_pairs(shared: Path, count: int) -> list[tuple[str, str]]:
    with (shared / "data" / "similarity" / "dev.csv").open(encoding="utf-8", newline="") as file:
        return [(row["sentence1"], row["sentence2"]) for row in csv.DictReader(file)][:count]


def test_pretraining_heads(mini: Path, shared: Path, record_property: Record) -> None:
    tokenizer = transformers.BertTokenizer.from_pretrained(mini)
    ours = bertie.BertForPreTraining.from_pretrained(mini)
    reference = transformers.BertForPreTraining.from_pretrained(mini, dtype=torch.float32).eval()
    batch = tokenizer(sentence_pairs(shared, 24), padding=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    with torch.inference_mode():
        got, wanted = ours(**batch), reference(**batch)
    words = scaled_difference(got.prediction_logits[real], wanted.prediction_logits[real])
    follows = scaled_difference(got.seq_relationship_logits, wanted.seq_relationship_logits)
    record_property("cases", 1)
    record_property("outputs", max(words, follows))
    assert words <= 1e-5
    assert follows <= 1e-5
    assert torch.equal(got.prediction_logits[real].argmax(-1), wanted.prediction_logits[real].argmax(-1))


def test_hidden_states(minilm: Path, shared: Path, record_property: Record) -> None:
    tokenizer = transformers.BertTokenizer.from_pretrained(minilm)
    ours = bertie.BertModel.from_pretrained(minilm)
    reference = transformers.BertModel.from_pretrained(minilm).eval()
    batch = tokenizer([first for first, _ in sentence_pairs(shared, 64)], padding=True, return_tensors="pt")
    real = batch["attention_mask"].bool()
    with torch.inference_mode():
        got, wanted = ours(**batch), reference(**batch)
    difference = scaled_difference(got.last_hidden_state[real], wanted.last_hidden_state[real])
    record_property("cases", 1)
    record_property("outputs", difference)
    assert difference <= 1e-5
    assert scaled_difference(got.pooler_output, wanted.pooler_output) <= 1e-5
