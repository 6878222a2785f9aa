"""A real tokenizer and real sentences for the tests of other tools."""

import csv
import itertools

import datasets
import pytest

import bertie


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def tokenizer(mini):
    return bertie.AutoTokenizer.from_pretrained(mini)


@pytest.fixture(scope="session")
def sentences(shared) -> datasets.Dataset:
    """32 real sentences with a label each."""
    with open(shared / "data" / "sentiment" / "train.csv", newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), 32))
    return datasets.Dataset.from_list([{"text": row["text"], "label": int(row["label"] == "positive")} for row in rows])


@pytest.fixture(scope="session")
def encoded(sentences, tokenizer) -> datasets.Dataset:
    return sentences.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=24), batched=True)
