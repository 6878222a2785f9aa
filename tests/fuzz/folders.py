"""Mutants of a small model's folder: one damage each, drawn from a number, and told in a line."""

import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import bertie

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "##s",
    "sat",
    "on",
    "mat",
    "a",
    "##b",
    ".",
    "é",
    "e",
]
CONFIG: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "id2label": {0: "no", 1: "maybe", 2: "yes"},
}
# what may stand in a JSON file in the place of anything else
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 0.5, -0.0, 2**31, 2**63, 10**30, float("nan"), float("inf"), 1e-300),
    *("", "x", "[UNK]", "é", "\ud800", "\0", "null", "../..", "/dev/zero", "y" * 5000, "cuda", "float16"),
    *([], [None], [[]], ["a", 1], [0] * 3, {}, {"a": None}, {"0": 0}, {"content": 1}, {"type": "Lowercase"}),
]
LINES = ["", " ", "the", "[UNK]", "x" * 5000, "\ufeff", "a b", "\r", "\u2028"]
KEYS = ["", "__init__", "__class__", "self", "0", "z" * 5000, "to_dict", "num_labels", "type", "é\ud800"]


def write_base(folder: Path, kind: str) -> None:
    """Write the folder that mutants are made of: ``kind`` says how its weights lie there."""
    torch.manual_seed(0)
    model = bertie.BertForSequenceClassification(bertie.BertConfig(**CONFIG))
    model.save_pretrained(folder, max_shard_size="6KB" if kind == "shards" else "5GB")
    if kind == "pickle":
        os.remove(folder / "model.safetensors")
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    bertie.BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    if kind == "embedding":
        write_recipe(folder)


def write_recipe(folder: Path) -> None:
    """Write sentence-transformers' files beside the model."""
    kinds = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"idx": n, "name": str(n), "path": kinds[kind], "type": f"sentence_transformers.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    settings = {
        "prompts": {"query": "the "},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
        "truncate_dim": 8,
    }
    for name, content in (
        ("modules.json", modules),
        ("sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False}),
        ("config_sentence_transformers.json", settings),
        ("1_Pooling/config.json", pooling),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))


def mutate(folder: Path, seed: int) -> str:
    """Damage one file of a folder in the way that ``seed`` says, and return what was done."""
    chance = random.Random(seed)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    name = chance.choice(names)
    ways = [_cut, _bytes, _link] + [_json] * 12 * name.endswith(".json") + [_header] * 6 * name.endswith("safetensors")
    ways += [_lines] * 4 * name.endswith(".txt")
    return f"seed {seed}: {name}: {chance.choice(ways)(folder / name, chance)}"


def _json(path: Path, chance: random.Random) -> str:
    """Replace one value of a JSON file, take it out, or give it another name."""
    content = json.loads(path.read_text(encoding="utf-8"))
    holder, key = chance.choice(list(_places(content)) or [({"": content}, "")])
    way = chance.choice(["value"] * 6 + ["without", "name", "deep"])
    if way == "without":
        del holder[key]
        told = f"without {key!r:.80}"
    elif way == "name" and isinstance(holder, dict):
        new = chance.choice(KEYS)
        holder[new] = holder.pop(key)
        told = f"{key!r:.80} named {new!r:.40}"
    else:
        new = chance.choice(VALUES) if way != "deep" else json.loads("[" * 400 + "]" * 400)
        holder[key] = new
        told = f"{key!r:.80} = {new!r:.60}"
    path.write_text(json.dumps(content))
    return told


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Give every (holder, key) of a JSON value."""
    for key, inner in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _header(path: Path, chance: random.Random) -> str:
    """Change the header of a safetensors file: a byte, or an entry."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = bytearray(raw[8 : 8 + length])
    if chance.random() < 0.4:
        place, byte = chance.randrange(len(header)), chance.randrange(256)
        header[place] = byte
        told = f"byte {place} of the header = {byte}"
    else:
        content = json.loads(header)
        holder, key = chance.choice(list(_places(content)))
        new = chance.choice([*VALUES, "BF16", "I8", [16], [0, 4], [4, 0]])
        holder[key] = new
        header = bytearray(json.dumps(content).encode())
        told = f"{key!r:.80} = {new!r:.60} in the header"
    path.write_bytes(struct.pack("<Q", len(header)) + header + raw[8 + length :])
    return told


def _cut(path: Path, chance: random.Random) -> str:
    length = chance.randrange(path.stat().st_size + 1)
    path.write_bytes(path.read_bytes()[:length])
    return f"cut after {length} bytes"


def _bytes(path: Path, chance: random.Random) -> str:
    raw = bytearray(path.read_bytes())
    place, new = chance.randrange(len(raw) or 1), chance.randbytes(chance.choice([1, 1, 2, 8]))
    raw[place : place + len(new)] = new
    path.write_bytes(raw)
    return f"bytes {new!r} at {place}"


def _lines(path: Path, chance: random.Random) -> str:
    lines = path.read_text(encoding="utf-8").split("\n")
    place, new = (
        chance.randrange(len(lines)),
        chance.choice(LINES),
    )
    if chance.random() < 0.3:
        del lines[place]
        new = "left out"
    else:
        lines[place] = new
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"line {place} {new!r:.40}"


def _link(path: Path, chance: random.Random) -> str:
    """Put something else in the file's place: a link, a folder, a pipe, or another name."""
    ways: dict[str, Callable[[], Any]] = {
        "a link to itself": lambda: path.symlink_to(path.name),
        "a link to nothing": lambda: path.symlink_to("nothing"),
        "a link to a device": lambda: path.symlink_to("/dev/null"),
        "a link to its folder": lambda: path.symlink_to("."),
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "nothing": lambda: None,
    }
    if chance.random() < 0.3:
        kept = path.rename(path.with_name("kept elsewhere"))
        path.symlink_to(kept.name)
        return "a link to the file"
    told = chance.choice(list(ways))
    path.unlink()
    ways[told]()
    return told
