"""pytorch_model.bin: plain tensors are read, code and bombs never."""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.checkpoints.pickle_file import PickleFile
from bertie.errors import BertieError, CheckpointError

MARK = "code from a pickle ran"


class Evil:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder / MARK),)


def state() -> dict[str, torch.Tensor]:
    shared = torch.randn(4, 3)
    return OrderedDict(a=shared, b=shared.view(3, 4), c=torch.ones(2, dtype=torch.float16))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_of_today_and_of_before_torch_1_6(tmp_path: Path, zipped: bool) -> None:
    tensors = state()
    torch.save(tensors, tmp_path / "m.bin", _use_new_zipfile_serialization=zipped)
    file = PickleFile(tmp_path / "m.bin")
    assert file.infos["c"].dtype == "float16"
    assert all(torch.equal(file.tensor(name), tensor) for name, tensor in tensors.items())
    assert all(np.array_equal(file.array(name), tensor.numpy()) for name, tensor in tensors.items())


def test_without_pytorch_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(state(), tmp_path / "m.bin")

    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("bertie.extras.importlib.import_module", fail)
    with pytest.raises(BertieError) as error:
        PickleFile(tmp_path / "m.bin")
    path = str(tmp_path / "m.bin")
    assert str(error.value) == f"Reading {path!r} needs torch, which is not installed: pip install 'bertie[torch]'"


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_never_run(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.ones(1), "b": Evil(tmp_path)}, tmp_path / "m.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"holds more than tensors.*safetensors"):
        PickleFile(tmp_path / "m.bin")
    assert not (tmp_path / MARK).exists()


def test_other_files_are_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    for content, kind in [
        (b"", "empty"),
        (pickle.dumps(Evil(tmp_path)), "a pickle of another program"),
        (pickle.dumps({"a": 1}, protocol=2), "a pickle of another program"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "a 7z archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file"),
        (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
        (b"x\x9c" + bytes(40), "joblib"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=kind) as error:
            PickleFile(path)
        assert "model.safetensors" in str(error.value)
    np.save(path.with_suffix(".npy"), np.array([Evil(tmp_path)], dtype=object))
    with pytest.raises(CheckpointError, match="a NumPy array"):
        PickleFile(path.with_suffix(".npy"))
    assert not (tmp_path / MARK).exists()


def test_torchscript_and_other_archives_are_refused(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(CheckpointError, match="TorchScript code"):
        PickleFile(tmp_path / "script.pt")
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    with pytest.raises(CheckpointError, match="some other zip archive"):
        PickleFile(tmp_path / "arrays.npz")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.bin")
    with (
        zipfile.ZipFile(tmp_path / "plain.bin") as plain,
        zipfile.ZipFile(tmp_path / "bomb.bin", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.bin").stat().st_size < 40_000
    with pytest.raises(CheckpointError, match="is compressed"):
        PickleFile(tmp_path / "bomb.bin")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "m.bin")
    content = (tmp_path / "m.bin").read_bytes()
    for length in (4, 100, len(content) // 2, len(content) - 30):
        (tmp_path / "cut.bin").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"truncated or damaged|not a file of torch.save"):
            PickleFile(tmp_path / "cut.bin")
    torch.save(state(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    content = (tmp_path / "old.bin").read_bytes()
    for length in (30, 200, len(content) - 5):
        (tmp_path / "cut.bin").write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            PickleFile(tmp_path / "cut.bin")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.ones(1)], "holds a list where a state dict belongs"),
        ({"state_dict": {"a": torch.ones(1)}, "epoch": 3}, r"a dict under 'state_dict'.*below that key"),
        ({"a": torch.ones(1), "epoch": 3}, "a int under 'epoch'"),
        ({1: torch.ones(1)}, "a tensor name that is"),
        ({"a" * 600: torch.ones(1)}, "longer than 512"),
        ({"a": torch.ones(1).expand(10**12)}, "not a plain dense tensor"),
        ({"a": torch.eye(3).to_sparse()}, "not a plain dense tensor"),
        ({"a": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])}, "dense tensor|damaged or holds more"),
    ],
)
def test_contents_other_than_state_dicts(tmp_path: Path, content: Any, says: str) -> None:
    torch.save(content, tmp_path / "m.bin")
    with pytest.raises(CheckpointError, match=says):
        PickleFile(tmp_path / "m.bin")
