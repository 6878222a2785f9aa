"""A folder saved to while it is read: config and weights are from one save, or it is read again."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie.checkpoints import consistent_read
from bertie.checkpoints.consistent_read import read_consistently
from bertie.errors import CheckpointError
from bertie.models import loading

TINY: dict[str, Any] = {
    "vocab_size": 9,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


def save(folder: Path, number: int) -> None:
    """Save a model whose config and weights both encode its number."""
    model = bertie.BertModel(bertie.BertConfig(**TINY, layer_norm_eps=number / 1000))
    torch.nn.init.constant_(model.pooler.dense.bias, number)
    model.save_pretrained(folder)


def numbers(folder: Path) -> tuple[int, int]:
    """The numbers in config and weights of a loaded model."""
    model = bertie.BertModel.from_pretrained(folder)
    return round(model.config.layer_norm_eps * 1000), int(model.pooler.dense.bias[0])


@pytest.mark.parametrize("moment", ["after the config", "after the weights' names"])
def test_a_save_during_reading_is_read_consistently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    save(tmp_path, 1)
    name = "open_weights" if moment == "after the config" else "meta_model"
    usual, saved = getattr(loading, name), []

    def interrupted(*given: Any) -> Any:
        if not saved:
            saved.append(save(tmp_path, 2))
        return usual(*given)

    monkeypatch.setattr(loading, name, interrupted)
    assert numbers(tmp_path) == (2, 2)


def test_reading_waits_for_the_config_of_new_weights(tmp_path: Path) -> None:
    save(tmp_path / "old", 1)
    save(tmp_path / "new", 2)
    (tmp_path / "new" / "model.safetensors").rename(tmp_path / "old" / "model.safetensors")

    def finish() -> None:
        time.sleep(consistent_read.FRESH / 4)
        (tmp_path / "new" / "config.json").rename(tmp_path / "old" / "config.json")

    other = threading.Thread(target=finish)
    other.start()
    assert numbers(tmp_path / "old") == (2, 2)
    other.join()


def test_files_that_keep_changing_are_an_error(tmp_path: Path) -> None:
    reads = []

    def read() -> None:
        reads.append(save(tmp_path, 1 + len(reads) % 2))

    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="changed each of the 5 times .*: another process saves there"):
        read_consistently(tmp_path, read)
    assert len(reads) == consistent_read.TRIES


def test_errors_in_unchanged_files_are_raised_and_in_changed_ones_retried(tmp_path: Path) -> None:
    save(tmp_path, 1)
    reads: list[int] = []

    def damaged() -> None:
        reads.append(1)
        raise CheckpointError("truncated")

    with pytest.raises(CheckpointError, match="truncated"):
        read_consistently(tmp_path, damaged)
    assert len(reads) == 1

    def damaged_meanwhile() -> str:
        reads.append(1)
        if len(reads) == 2:
            save(tmp_path, 2)
            raise CheckpointError("truncated")
        return "read"

    assert read_consistently(tmp_path, damaged_meanwhile) == "read"


@pytest.mark.slow
def test_reading_while_a_process_keeps_saving(tmp_path: Path) -> None:
    save(tmp_path, 1)
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
    code += "from pathlib import Path\nfrom tests.checkpoints.test_consistent_read import save\nimport time\n"
    code += f"while True:\n    for n in (1, 2):\n        save(Path({str(tmp_path)!r}), n)\n        time.sleep(0.2)"
    other = subprocess.Popen([sys.executable, "-c", code])
    try:
        begun = (tmp_path / "config.json").stat().st_ino
        while (tmp_path / "config.json").stat().st_ino == begun and other.poll() is None:
            time.sleep(0.05)
        seen = set()
        for _ in range(60):
            try:
                config, weights = numbers(tmp_path)
            except CheckpointError as error:
                assert "another process saves there" in str(error)  # noqa: PT017
                continue
            assert config == weights
            seen.add(config)
        assert seen == {1, 2}
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
