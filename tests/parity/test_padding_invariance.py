"""The same text alone and in any batch: hidden states differ by no more than decision 9 allows, on real weights."""

import csv
from pathlib import Path

import pytest
import torch
from harness import OUTPUT_TOLERANCE, scaled_difference

import bertie

COUNT = 40


@pytest.fixture(scope="module")
def model(minilm: Path) -> bertie.BertModel:
    return bertie.BertModel.from_pretrained(minilm)


@pytest.fixture(scope="module")
def texts(minilm: Path, shared: Path) -> list[list[int]]:
    """Token ids of reviews cut to very different lengths."""
    tokenizer = bertie.BertTokenizer.from_pretrained(minilm)
    with (shared / "data" / "reviews" / "dev.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["text"] for row in csv.DictReader(file)][:COUNT]
    return [ids[: 1 + 7 * number] for number, ids in enumerate(tokenizer(rows, truncation=True)["input_ids"])]


@pytest.fixture(scope="module")
def alone(model: bertie.BertModel, texts: list[list[int]]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model(torch.tensor([ids])).last_hidden_state[0] for ids in texts]


def test_in_one_packed_batch(model: bertie.BertModel, texts: list[list[int]], alone: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        packed = model(bertie.Packed.from_lists(texts)).last_hidden_state
    for got, wanted in zip(packed.split([len(ids) for ids in texts]), alone, strict=True):
        assert scaled_difference(got, wanted) <= OUTPUT_TOLERANCE


@pytest.mark.parametrize("side", ["left", "right"])
def test_in_a_padded_batch_among_others(
    model: bertie.BertModel, texts: list[list[int]], alone: list[torch.Tensor], side: str
) -> None:
    chosen = [3, 30, 11, 24]
    width = max(len(texts[number]) for number in chosen) + 9
    ids = torch.zeros(len(chosen), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    positions = torch.zeros_like(ids)
    for row, number in enumerate(chosen):
        start = 0 if side == "right" else width - len(texts[number])
        place = slice(start, start + len(texts[number]))
        ids[row, place], mask[row, place] = torch.tensor(texts[number]), 1
        positions[row, place] = torch.arange(len(texts[number]))
    with torch.inference_mode():
        output = model(ids, attention_mask=mask, position_ids=positions).last_hidden_state
    for row, number in enumerate(chosen):
        assert scaled_difference(output[row][mask[row].bool()], alone[number]) <= OUTPUT_TOLERANCE
        assert not output[row][~mask[row].bool()].any()
