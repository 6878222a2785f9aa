"""Writing a model to a new folder only, in a writable place, with a note in its card."""

import os
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from bertie.checkpoints.new_folder import check_new, note_in_card
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


@pytest.mark.parametrize(
    ("front", "body"),
    [
        ("---\nlicense: mit\n---\n\n", "# A model\n"),
        ("---\r\nlicense: mit\r\n---\r\n\r\n", "# A model\r\n"),
        ("\n---\nlicense: mit\n---\n", "# A model\n"),
        ("---\nlicense: mit\n---\n", ""),
        ("---\nlicense: mit\n---", ""),
        ("", "A model\n---\n"),
        ("", "---"),
        ("", ""),
    ],
)
def test_a_note_follows_the_front_matter_of_a_card(front: str, body: str, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_bytes((front + body).encode())
    for _ in range(2):  # once is enough
        note_in_card(tmp_path)
    if front:
        assert ModelCard.load(card).data.license == "mit"
    lines, note = (front + body).splitlines(), "> This is the card of the model that this one was made from"
    noted = card.read_text().splitlines()
    (place,) = [number for number, line in enumerate(noted) if line.startswith(note)]
    assert noted[:place] == front.splitlines()
    assert [line for line in noted[:place] + noted[place + 2 :] if line] == [line for line in lines if line]
