"""SIGHUP reads models anew; a broken one leaves the old one serving, and says why."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.serving.conftest import Process

import bertie


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "nan"])
def test_reload(process: Callable[..., Process], folders: dict[str, Path], tmp_path: Path, broken: str) -> None:
    folder = shutil.copytree(folders["vectors"], tmp_path / "model")
    running = process(f"v={folder}", "--no-log-requests")

    def vector() -> list[float]:
        reply = running.post("/embed", {"inputs": "a cat"})
        assert reply.status_code == 200
        return reply.json()[0]

    def reload() -> str:
        running.process.send_signal(signal.SIGHUP)
        return running.said("The model 'v'")

    first = vector()
    model = bertie.BertModel.from_pretrained(folder)
    model.embeddings.word_embeddings.weight.data += torch.linspace(-1, 1, 16)
    model.save_pretrained(folder)
    assert "was read anew" in reload()
    second = vector()
    assert not np.allclose(first, second)
    assert np.allclose(second, bertie.pipeline("embed", folder, normalize=True)("a cat"), atol=1e-6)
    if broken == "nan":  # it can be read, and gives no numbers
        model.embeddings.LayerNorm.weight.data[:] = float("inf")
        model.save_pretrained(folder)
    else:
        cut = tmp_path / "cut"
        cut.write_bytes((folder / broken).read_bytes()[:100])
        cut.replace(folder / broken)
    said = reload()
    assert "stays as it was, for the new one cannot serve: " in said
    assert len(said) > 90
    assert vector() == second
    assert running.end()[0] == 0
