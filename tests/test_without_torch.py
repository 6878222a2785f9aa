"""What answers needs no PyTorch: these run in a process in which it cannot be imported."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import bertie
from bertie.checkpoints import open_checkpoint

SOURCE = Path(bertie.__file__).parent
# rooms, and files of other rooms, that import PyTorch at the top; no other module does
WITH_TORCH = {
    *("attention", "bench", "capture", "compression", "dropout", "estimators", "finetuning", "layers", "models"),
    *("outputs", "packing", "pictures", "pipelines", "training"),
    *("tasks/summed_losses", "tasks/tensors"),
}
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def without_torch(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which importing torch fails as where it is not installed."""
    command = [sys.executable, "-c", BLOCKED + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_every_module_of_the_other_rooms_is_imported() -> None:
    paths = [path.relative_to(SOURCE).with_suffix("") for path in sorted(SOURCE.rglob("*.py"))]
    names = [".".join(("bertie", *path.parts)) for path in paths if not {path.parts[0], path.as_posix()} & WITH_TORCH]
    assert "bertie.checkpoints.folder" in names
    program = """
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    done = without_torch(program, *names)
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_is_read_and_written(tmp_path: Path) -> None:
    weights = {"half": torch.randn(3, 4).bfloat16(), "whole": torch.randn(4)}
    save_file(weights, tmp_path / "model.safetensors")
    program = """
from bertie.checkpoints import open_checkpoint, write_checkpoint
folder, copy = sys.argv[1:]
checkpoint = open_checkpoint(folder)
assert {name: info.dtype for name, info in checkpoint.infos.items()} == {"half": "bfloat16", "whole": "float32"}
write_checkpoint(copy, {name: checkpoint.float32(name) for name in checkpoint.infos}, "{}")
"""
    done = without_torch(program, str(tmp_path), str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    copied = open_checkpoint(tmp_path / "copy")
    assert all(torch.equal(copied.tensor(name), weight.float()) for name, weight in weights.items())


def test_a_bin_file_says_what_to_install(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    program = """
from bertie.checkpoints import open_checkpoint
open_checkpoint(sys.argv[1])
"""
    done = without_torch(program, str(tmp_path))
    assert done.stderr.strip().splitlines()[-1].endswith("which is not installed: pip install 'bertie[torch]'")


def test_inspect(tmp_path: Path) -> None:
    bertie.BertForMaskedLM(
        bertie.BertConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
        )
    ).save_pretrained(tmp_path)
    program = """
import bertie.cli
bertie.cli.main()
"""
    done = without_torch(program, "inspect", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "BertForMaskedLM                complete" in done.stdout


@pytest.mark.parametrize("name", ["BertConfig", "BertTokenizer", "AutoTokenizer", "BertieError"])
def test_public_names_that_compute_nothing(name: str) -> None:
    done = without_torch(f"import bertie; bertie.{name}")
    assert done.returncode == 0, done.stderr
