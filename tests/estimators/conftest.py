"""A small random BERT whose few words tell two classes apart, and texts made of them."""

from pathlib import Path

import pytest
import torch

import bertie

GOOD, BAD = ["good", "lovely", "fine"], ["bad", "awful", "dull"]
FILLING = ["a", "film", "the", "plot", "is"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *FILLING]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, in hub layout."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    config = bertie.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=24,
    )
    bertie.BertModel(config).save_pretrained(folder)
    bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """60 texts; those at odd places are good."""
    found = []
    for number in range(60):
        filling = " ".join(FILLING[(number + step) % 5] for step in range(number % 6))
        found.append(f"{filling} {(GOOD if number % 2 else BAD)[number % 3]} film {FILLING[number // 12]}".strip())
    return found
