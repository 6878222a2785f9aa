"""The GPU benchmarks run on a CPU with a tiny model, so that none is broken when a GPU is at hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    "parity": ["parity.py"],
    "query-tiny": ["query.py"],
    "infer-tiny": ["infer.py", "--workloads", "mixed"],
    "train-tiny": ["train.py", "--workloads", "128-mixed", "--dropouts", "0"],
    "many-tiny": ["many.py"],
    "fp8": ["fp8.py"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_and_leaves_its_figures(name, tmp_path):
    script, *rest = SCRIPTS[name]
    environment = os.environ | {"OUT": str(tmp_path), "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, f"benchmarks/gpu/{script}", *rest, "--device", "cpu", "--tiny"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    figures = json.loads((tmp_path / f"{name}.json").read_text())
    assert figures["device"] == "cpu"
    assert figures["results"]


def test_all_scripts_are_run_by_one():
    code = (ROOT / "benchmarks" / "gpu" / "run_all.py").read_text()
    for script in (ROOT / "benchmarks" / "gpu").glob("*.py"):
        if script.name not in ("harness.py", "run_all.py"):
            assert f'"{script.name}"' in code, f"run_all.py leaves out {script.name}"
