"""What tests that learn start from: a small random BERT in hub layout, and the few words it knows."""

from pathlib import Path

import torch

import bertie

GOOD, BAD = ["good", "lovely", "fine"], ["bad", "awful", "dull"]
FILLING = ["a", "film", "the", "plot", "is"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *FILLING]


def write_start(folder: Path, **more: float) -> Path:
    """Write the model into ``folder`` and return it; ``more`` are fields of its config."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = bertie.BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, **{**shape, **more})
    bertie.BertModel(config).save_pretrained(folder)
    bertie.BertTokenizer(vocab={word: number for number, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder
