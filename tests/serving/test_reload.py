"""SIGHUP reloads models; if one is broken, the old one goes on serving, and the error is logged."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.serving.conftest import Process

import bertie

HANGS_UP = """
import os, signal, sys
from bertie.serving.server_process import Settings, serve
from bertie.serving.served_model import ServedModel
from bertie.serving.service import Limits
own, opened = ServedModel.open, []
def open_model(*given):
    opened.append(given)
    if len(opened) < 3:
        os.kill(os.getpid(), signal.SIGHUP)
    return own(*given)
ServedModel.open = open_model
serve(Settings((sys.argv[1],), Limits()), "127.0.0.1", 0)
"""


def test_a_second_hangup_during_a_reload_reloads_again(folders: dict[str, Path]) -> None:
    command = [sys.executable, "-c", HANGS_UP, str(folders["vectors"])]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        said = [next(line for line in running.stderr or () if "reloaded" in line or "serving" in line) for _ in "123"]
        running.send_signal(signal.SIGTERM)
    assert sum("was reloaded" in line for line in said) == 2
    assert running.returncode == 0


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
    assert "was reloaded" in reload()
    second = vector()
    assert not np.allclose(first, second)
    assert np.allclose(second, bertie.pipeline("embed", folder, normalize=True)("a cat"), atol=1e-6)
    if broken == "nan":  # it loads, but computes NaN
        model.embeddings.LayerNorm.weight.data[:] = float("inf")
        model.save_pretrained(folder)
    else:
        cut = tmp_path / "cut"
        cut.write_bytes((folder / broken).read_bytes()[:100])
        cut.replace(folder / broken)
    said = reload()
    assert "could not be reloaded, and the old one goes on serving: " in said
    assert len(said) > 90
    assert vector() == second
    assert running.end()[0] == 0
