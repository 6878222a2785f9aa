"""Imports run one way, from the command line down to the errors, and the package costs nothing until it is used."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import bertie
from bertie.tasks.registry import ROWS as TABLE

SOURCE = Path(bertie.__file__).parent
# A room imports only from rooms below its own line.
ROWS = [
    {"__main__"},
    {"cli"},
    {"serving", "estimators", "bench"},
    {"export"},
    {"finetuning", "pretraining", "compression", "integrations"},
    {"evaluation", "machine", "pictures"},
    {"pipelines"},
    {"training"},
    {"models"},
    {"layers"},
    {"attention"},
    {"dropout"},
    {"tasks"},
    {"row_losses"},
    {"zero_copy"},
    {"metrics"},
    {"data", "engine"},
    {"generation"},
    {"batching"},
    {"threads"},
    {"checkpoints", "tokenization"},
    {"packing"},
    {"capture", "encoder_decoder_config", "outputs"},
    {"config"},
    {"config_mapping"},
    {"families", "fields"},
    {"layouts"},
    {"hub"},
    {"locking", "run_files"},
    {"files"},
    {"kernels"},
    {"openmp", "writing"},
    {"extras"},
    {"settings"},
    {"frames", "markdown", "rules"},
    {"progress"},
    {"errors", "memory", "messages"},
]
PLACE = re.compile(r"bertie(\.\w+)+:\w+")
# Names that files of several rooms may have: those of tasks, of layers, and of the commands for what a room does.
TASKS = {name.replace("-", "_") for row in TABLE for name in (row.name, *row.aliases)}
LAYERS = {"activations", "attention", "dropout", "embeddings", "encoder", "heads", "linear", "normalization"}
COMMANDS = {"pretrain"}
# Other names that stand in several rooms. Nothing is added here.
SEVERAL = {
    *("arrays", "auto", "entities", "folder", "inputs", "loading", "saving", "searching"),
    *("tensors", "writing"),
}
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms of bertie that a file imports, at its top or inside a function."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            names += [f"bertie.{alias.name}" for alias in node.names] if module == "bertie" else [module]
        # what importlib is given: a module, or "module:name" in a table
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
            names += [one.value for one in node.args if isinstance(one, ast.Constant)]
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and PLACE.fullmatch(node.value):
            names.append(node.value)
    return {name.split(".")[1] for name in names if name.startswith("bertie.")} - {"__version__"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert room in ROW_OF, f"{room} has no place in the order of imports"
    for other in imported_rooms(path) - {room}:
        assert ROW_OF[other] > ROW_OF[room], f"{room} must not import {other}"


def test_what_programs_beside_the_package_import_is_there() -> None:
    root = SOURCE.parents[1]
    for path in [*(root / "benchmarks").rglob("*.py"), *(root / "examples").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "bertie":
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
                    assert found, f"{path.relative_to(root)} imports {alias.name} from {node.module}"


def test_a_file_has_a_name_of_its_own() -> None:
    counts = Counter(path.stem for path in SOURCE.rglob("*.py") if not path.stem.startswith("__"))
    doubled = {name for name, count in counts.items() if count > 1} - TASKS - LAYERS - COMMANDS
    assert doubled - SEVERAL == set(), "give the file a name that says what this one, and no other, holds"
    assert SEVERAL - doubled == set(), "these stand once now: take them off the list"


def test_nothing_imports_transformers() -> None:
    # `bertie bench` times it too, in a process of its own, where it is installed
    timed = SOURCE / "bench" / "ways.py"
    for path in (path for path in SOURCE.rglob("*.py") if path != timed):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(module.split(".")[0] == "transformers" for module in modules), path


def test_importing_bertie_does_not_import_torch() -> None:
    code = "import sys, bertie; bertie.BertConfig; bertie.AutoTokenizer; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metrics_do_not_import_torch() -> None:
    code = "import sys, bertie.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in bertie.__all__:
        assert getattr(bertie, name) is not None
    assert set(dir(bertie)) == set(bertie.__all__)


def test_type_checkers_see_every_public_name() -> None:
    stub = ast.parse((SOURCE / "__init__.pyi").read_text(encoding="utf-8"))
    names = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == set(bertie.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'BertForEverything'"):
        bertie.BertForEverything  # noqa: B018
