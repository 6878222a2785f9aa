"""A fine-tuning of a fraction of a second, for tests that stop it."""

from pathlib import Path
from typing import Any

import torch
from films import BAD, FILLING, GOOD
from safetensors.torch import load_file

import bertie

SETTINGS = {"steps": 4, "save_every": 2, "evaluate_every": 2, "batch_size": 6, "learning_rate": 1e-2}
TRAIN = [
    {"text": f"{FILLING[number % 5]} {(BAD, GOOD)[number % 2][number % 3]} film", "label": ("neg", "pos")[number % 2]}
    for number in range(24)
]


def finetune(start: Path, out: Path, train: Any = TRAIN, resume: bool = True, **more: Any) -> Any:
    """Fine-tune the model in ``start``, or go on with it."""
    chosen = bertie.Settings(**{**SETTINGS, **more.pop("settings", {})})
    return bertie.finetune(
        "sequence-classification",
        train,
        model=start,
        out=out,
        resume=resume,
        settings=chosen,
        show_progress=False,
        **more,
    )


def same_weights(folder: Path, other: Path) -> None:
    """Hold that two runs have ended with bitwise the same weights."""
    found, expected = load_file(folder / "model.safetensors"), load_file(other / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected), folder
