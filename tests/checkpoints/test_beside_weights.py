"""Where a model may be written: into a folder that is new, in a place that takes it."""

import os
from pathlib import Path

import pytest

from bertie.checkpoints.beside_weights import check_new
from bertie.errors import CheckpointError


def test_a_model_is_written_into_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("new", "empty", "a/folder/of/it"):
        assert check_new(tmp_path / name) == tmp_path / name
    with pytest.raises(CheckpointError, match="is not empty; name a new one"):
        check_new(tmp_path)
    with pytest.raises(CheckpointError, match="is a file; name a new folder"):
        check_new(tmp_path / "file")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(CheckpointError, match=rf"cannot write '.*/a/b': you may not write to '{tmp_path}'; choose"):
        check_new(tmp_path / "a" / "b")
