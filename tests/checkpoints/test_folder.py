"""A model folder: the choice of file, shards, and wrong indexes."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bertie.checkpoints import open_checkpoint, weight_files
from bertie.errors import CheckpointError

A, B = torch.ones(2), torch.zeros(3)


def sharded(folder: Path, where: dict[str, str], ending: str = "safetensors") -> Path:
    """Write two shards, with one tensor each, and an index that says ``where`` they are."""
    for name, tensors in (("one", {"a": A}), ("two", {"b": B})):
        if ending == "bin":
            torch.save(tensors, folder / f"{name}.bin")
        else:
            save_file(tensors, folder / f"{name}.safetensors")
    plain = "model.safetensors" if ending == "safetensors" else "pytorch_model.bin"
    (folder / f"{plain}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_joined(tmp_path: Path, ending: str) -> None:
    checkpoint = open_checkpoint(sharded(tmp_path, {"a": f"one.{ending}", "b": f"two.{ending}"}, ending))
    assert set(checkpoint.infos) == {"a", "b"}
    assert torch.equal(checkpoint.tensor("a"), A)
    assert checkpoint.infos["b"].file.name == f"two.{ending}"


def test_safetensors_come_first_unless_asked_otherwise(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "model.safetensors")
    torch.save({"a": A * 2}, tmp_path / "pytorch_model.bin")
    assert open_checkpoint(tmp_path).tensor("a")[0] == 1
    assert open_checkpoint(tmp_path, use_safetensors=False).tensor("a")[0] == 2
    (tmp_path / "model.safetensors").unlink()
    assert open_checkpoint(tmp_path).tensor("a")[0] == 2
    with pytest.raises(CheckpointError, match=r"none of the weight files.*use_safetensors"):
        open_checkpoint(tmp_path, use_safetensors=True)


def test_a_broken_safetensors_file_does_not_lead_to_the_pickle(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    torch.save({"a": A}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="truncated"):
        open_checkpoint(tmp_path)


def test_variants(tmp_path: Path) -> None:
    save_file({"a": A}, tmp_path / "model.safetensors")
    save_file({"a": A.half() * 3}, tmp_path / "model.fp16.safetensors")
    assert open_checkpoint(tmp_path, variant="fp16").tensor("a")[0] == 3
    with pytest.raises(CheckpointError, match=r"model\.int8\.safetensors"):
        open_checkpoint(tmp_path, variant="int8")
    assert weight_files(True, "fp16")[:2] == ["model.fp16.safetensors", "model.safetensors.index.fp16.json"]
    assert weight_files(False)[:2] == ["pytorch_model.bin", "pytorch_model.bin.index.json"]


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "x/../../secret.safetensors"])
def test_an_index_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    save_file({"b": B}, tmp_path / "secret.safetensors")
    (tmp_path / "model").mkdir()
    with pytest.raises(CheckpointError, match="leads out of the model's folder"):
        open_checkpoint(sharded(tmp_path / "model", {"a": "one.safetensors", "b": name}))


def test_a_shard_may_be_a_link_to_where_its_owner_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    folder = sharded(tmp_path / "model", {"a": "one.safetensors", "b": "two.safetensors"})
    os.rename(folder / "two.safetensors", tmp_path / "blob")
    (folder / "two.safetensors").symlink_to(tmp_path / "blob")
    assert torch.equal(open_checkpoint(folder).tensor("b"), B)
    (folder / "two.safetensors").unlink()
    (folder / "two.safetensors").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="a pipe, socket or device"):
        open_checkpoint(folder)


def test_a_pipe_as_weights_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="a pipe, socket or device"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"a": "one.safetensors", "b": "three.safetensors"}, "'three.safetensors', which is missing"),
        ({"a": "one.safetensors", "b": "./one.safetensors"}, "lists one file twice"),
        ({"a": "two.safetensors", "b": "one.safetensors"}, "where it is not"),
        ({"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}, "'c' is in 'two.safetensors'"),
        ({"a": "one.safetensors", "b": "model.safetensors.index.json"}, "of another format"),
        ({"a": "one.safetensors", "b": 2}, "'weight_map' is .*; allowed: a mapping of strings"),
        ({}, "no 'weight_map'"),
    ],
)
def test_wrong_indexes(tmp_path: Path, where: dict[str, str], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(sharded(tmp_path, where))


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    sharded(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    save_file({"a": A, "b": B}, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"'a' is in two files, 'one.safetensors' and 'two.safetensors'"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tf_model.h5", "'tf_model.h5' is weights of Keras: convert it once"),
        ("model.pt", "'model.pt' is a file saved by some other program"),
        ("model.fp16.safetensors", "only model.fp16.safetensors; see the arguments variant"),
        ("notes.txt", "give the folder of a saved model"),
    ],
)
def test_a_folder_without_weights_lists_what_it_has(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path)
