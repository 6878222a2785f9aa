"""``torchrun -m bertie pretrain`` on two processes with a sharded model writes the same as one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import bertie
from bertie.data.bundled_texts import book_texts
from bertie.pretraining.preparation import prepare

CONFIG = {
    "model_type": "bert",
    "vocab_size": 400,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
OPTIONS = ["--steps=4", "--length=32", "--batch-tokens=300", "--evaluate-every=2", "--dropout=0"]


def test_two_processes_pretrain_one_model(tmp_path: Path) -> None:
    texts = book_texts()[:200]
    documents = [" ".join(texts[start : start + 8]) for start in range(0, len(texts), 8)]
    prepare(documents, bertie.BertTokenizer().train_new_from_iterator(documents, 400), tmp_path / "data", heldout=0.1)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    command = ["bertie", "pretrain", "--data=data", "--config=config.json", *OPTIONS]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", *launcher, *command, f"--out={out}", *more],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for out, launcher, more in (("one", [], []), ("two", TORCHRUN, ["--shard"]))
    ]
    for run in runs:
        _, said = run.communicate(timeout=240)
        assert run.returncode == 0, said
    one, two = (load_file(tmp_path / out / "model.safetensors") for out in ("one", "two"))
    assert one.keys() == two.keys()
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, rtol=0, atol=1e-6, msg=name)
    figures = [json.loads((tmp_path / out / "results.json").read_text())["heldout"] for out in ("one", "two")]
    assert abs(figures[0]["loss"] - figures[1]["loss"]) < 1e-5
