"""No task needs PyTorch to be read, and with arrays it computes what it computes with tensors."""

import subprocess
import sys
from pathlib import Path

import bertie.tasks

BESIDE = {"objectives", "tensors"}
"""What works on tensors alone: imported by the methods that are given some."""


def test_no_file_of_the_tasks_needs_torch() -> None:
    files = sorted(path.stem for path in Path(bertie.tasks.__file__).parent.glob("*.py"))
    names = [f"bertie.tasks.{name}" for name in files if name not in {"__init__", *BESIDE}]
    code = f"import importlib, sys; sys.modules['torch'] = None; [importlib.import_module(name) for name in {names}]"
    subprocess.run([sys.executable, "-c", code], check=True)
