"""Saving: all files or none, shards, and leftovers of an earlier save."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from bertie.checkpoints import open_checkpoint, write_checkpoint, writing
from bertie.checkpoints.writing import parse_size
from bertie.errors import CheckpointError, InputError

TENSORS = {name: torch.full((100,), float(i)) for i, name in enumerate("abcde")}


def same(folder: Path, tensors: dict[str, torch.Tensor]) -> bool:
    checkpoint = open_checkpoint(folder)
    return set(checkpoint.infos) == set(tensors) and all(
        torch.equal(checkpoint.tensor(n), t) for n, t in tensors.items()
    )


def test_one_file(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "new" / "folder", TENSORS, "{}")
    folder = tmp_path / "new" / "folder"
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    assert same(folder, TENSORS)
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_weights_get_the_usual_permissions(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, "{}")
    (tmp_path / "other").touch()
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_shards(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, "{}", max_shard_size=800)
    assert sorted(os.listdir(tmp_path)) == [
        "config.json",
        *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)),
        "model.safetensors.index.json",
    ]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 2000}
    assert index["weight_map"]["c"] == "model-00002-of-00003.safetensors"
    assert same(tmp_path, TENSORS)


def test_a_tensor_larger_than_a_shard_is_a_file_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, "{}", max_shard_size="0.1KB")
    assert len(list(tmp_path.glob("model-*-of-00005.safetensors"))) == 5
    assert same(tmp_path, TENSORS)


def test_files_of_an_earlier_save_are_removed_and_others_kept(tmp_path: Path) -> None:
    for name in ("vocab.txt", "pytorch_model.bin", "model.onnx", "my-model-00001-of-00002.safetensors"):
        (tmp_path / name).touch()
    kept = set(os.listdir(tmp_path))
    write_checkpoint(tmp_path, TENSORS, "{}", max_shard_size=800)
    write_checkpoint(tmp_path, TENSORS, "{}", variant="fp16")
    write_checkpoint(tmp_path, {"a": TENSORS["a"]}, "{}", max_shard_size=800)
    assert set(os.listdir(tmp_path)) == kept | {"config.json", "model.safetensors", "model.fp16.safetensors"}
    write_checkpoint(tmp_path, TENSORS, "{}", max_shard_size=1200)
    assert "model.safetensors" not in os.listdir(tmp_path)
    assert same(tmp_path, TENSORS)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    write_checkpoint(tmp_path, TENSORS, '{"old": 1}', max_shard_size=800)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_shard, calls = writing.write_tensors, []

    def fail_later(tensors: Any, path: Path) -> None:
        calls.append(path)
        write_shard(tensors, path)
        if len(calls) == failing:
            path.write_bytes(path.read_bytes()[:50])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_tensors", fail_later)
    with pytest.raises(CheckpointError, match=r"cannot write .*No space left on device; make room there"):
        write_checkpoint(tmp_path, {n: t + 1 for n, t in TENSORS.items()}, '{"new": 1}', max_shard_size=800)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_process_killed_while_saving_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, '{"old": 1}', max_shard_size=800)
    program = """
import os, signal, sys, torch
from bertie.checkpoints import write_checkpoint, writing
write = writing.write_tensors
def die(tensors, path):
    write(tensors, path)
    if "00002" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
writing.write_tensors = die
write_checkpoint(sys.argv[1], {name: torch.zeros(100) for name in "abcde"}, "{}", max_shard_size=800)
"""
    import bertie

    environment = {**os.environ, "PYTHONPATH": str(Path(bertie.__file__).parents[1])}
    died = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment)
    assert died.returncode == -signal.SIGKILL
    assert same(tmp_path, TENSORS)
    assert (tmp_path / "config.json").read_text() == '{"old": 1}'
    write_checkpoint(tmp_path, {"a": TENSORS["a"]}, "{}")
    assert same(tmp_path, {"a": TENSORS["a"]})


def test_a_mapped_model_survives_being_saved_over(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, TENSORS, "{}")
    mapped = open_checkpoint(tmp_path)
    tensors = {name: mapped.tensor(name) for name in TENSORS}
    write_checkpoint(tmp_path, tensors, "{}")
    assert same(tmp_path, TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_file_where_the_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(CheckpointError, match="cannot make the folder"):
            write_checkpoint(folder, TENSORS, "{}")


@pytest.mark.parametrize(
    ("given", "count"),
    [
        *((5, 5), ("5", 5), ("  7  ", 7), (1, 1)),
        *(("1KB", 10**3), ("1MB", 10**6), ("5GB", 5 * 10**9), ("2TB", 2 * 10**12), ("1.5 kb", 1500)),
        *(("1KiB", 2**10), ("2MiB", 2 * 2**20), ("3 gib", 3 * 2**30), ("0.5KIB", 512), ("0.001KB", 1)),
    ],
)
def test_sizes(given: int | str, count: int) -> None:
    assert parse_size(given) == count


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "GB",
        "5 apples",
        -1,
        0,
        "0MB",
        True,
        False,
        None,
        "1.KB",
        ".5KB",
        "1 TiB",
        "1K",
        "B",
        "5B",
        "1e3",
        "1,5GB",
        2.5j,
    ],
)
def test_invalid_sizes(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"max_shard_size is .*; allowed: (a number of bytes|at least 1 byte)"):
        parse_size(wrong)


def test_a_size_below_one_byte_says_what_is_allowed() -> None:
    for wrong in (0, "0MB", "0.0001KB"):
        with pytest.raises(InputError, match="allowed: at least 1 byte"):
            parse_size(wrong)
