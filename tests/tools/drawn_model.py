"""A small model in files, drawn at random, without PyTorch."""

import json
from pathlib import Path

import numpy as np

from bertie.checkpoints.safetensors_file import write_tensors

CONFIG = {
    "architectures": ["BertModel"],
    "hidden_size": 36,
    "intermediate_size": 50,
    "max_position_embeddings": 16,
    "model_type": "bert",
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]


def write_model(folder: Path) -> Path:
    chance, width, wide = np.random.default_rng(0), CONFIG["hidden_size"], CONFIG["intermediate_size"]

    def linear(name: str, columns: int, depth: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (columns, depth), f"{name}.bias": (columns,)}

    def norm(name: str) -> dict[str, tuple[int, ...]]:
        return {f"{name}.LayerNorm.weight": (width,), f"{name}.LayerNorm.bias": (width,)}

    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS), width),
        "embeddings.position_embeddings.weight": (CONFIG["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (CONFIG["type_vocab_size"], width),
        **norm("embeddings"),
        **linear("pooler.dense", width, width),
    }
    for number in range(CONFIG["num_hidden_layers"]):
        block = f"encoder.layer.{number}"
        for name in ("query", "key", "value"):
            shapes |= linear(f"{block}.attention.self.{name}", width, width)
        shapes |= linear(f"{block}.attention.output.dense", width, width) | norm(f"{block}.attention.output")
        shapes |= linear(f"{block}.intermediate.dense", wide, width)
        shapes |= linear(f"{block}.output.dense", width, wide) | norm(f"{block}.output")
    write_tensors(
        {name: chance.standard_normal(shape, np.float32) / 4 for name, shape in shapes.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": len(WORDS)}))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder
