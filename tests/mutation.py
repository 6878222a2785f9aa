"""Change one operator or number of the package at a time and see whether the nearest tests notice.

    python tests/mutation.py --count 60 --seed 0

Works on a copy of ``src/`` and lists the survivors: changes that pass the test file which mirrors the changed one, or,
without such a file, the smallest that import the module.
"""

import argparse
import ast
import copy
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest
import torch  # noqa: F401  # once, for all runs: they are forks of this process

ROOT = Path(__file__).resolve().parents[1]
SOURCE, TESTS = ROOT / "src", ROOT / "tests"
SECONDS = 120  # then a run of the tests is ended
MOST_FILES = 3

OTHER_OPERATOR: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Place:
    """The ``index``-th node of a file's tree that can be changed."""

    path: Path
    index: int


def changeable(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that can be changed, in order; types, decorators and options of commands are left alone."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            if _is_changeable(node):
                yield node
            yield from changeable(node)


def _is_changeable(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.Compare(ops=[op]):
            return type(op) in OTHER_OPERATOR
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Constant(value=value):
            return isinstance(value, bool | int | float)
    return False


def change(node: ast.AST) -> None:
    """Change a node in place: another operator, the opposite truth, the next number."""
    match node:
        case ast.BinOp() | ast.BoolOp():
            node.op = OTHER_OPERATOR[type(node.op)]()  # type: ignore[assignment]
        case ast.Compare():
            node.ops = [OTHER_OPERATOR[type(node.ops[0])]()]  # type: ignore[list-item]
        case ast.UnaryOp():
            node.operand = ast.UnaryOp(ast.Not(), copy.deepcopy(node.operand))
        case ast.Constant(value=bool()):
            node.value = not node.value
        case ast.Constant(value=int() | float()):
            node.value += 1


def nearest_tests(path: Path) -> list[Path]:
    """Return the file that mirrors a source file, or the smallest that import its module."""
    inside = path.relative_to(SOURCE / "bertie")
    mirror = TESTS / inside.parent / f"test_{inside.stem}.py"
    if mirror.is_file():
        return [mirror]
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    room, _, name = module.rpartition(".")
    named = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(room)} import .*\b{name}\b")
    found = [file for file in TESTS.rglob("test_*.py") if named.search(file.read_text(encoding="utf-8"))]
    beside = [*(TESTS / inside.parent).glob("test_*.py")] if inside.parent.parts else []
    return sorted(found or beside, key=lambda file: file.stat().st_size)[:MOST_FILES]


def outcome(place: Place, package: Path, tests: tuple[Path, ...]) -> str:
    """Run the tests on a package with one change; "SURVIVES" if they pass."""
    if not tests:
        return "SURVIVES"
    changed = package / place.path.relative_to(SOURCE)
    before = changed.read_text(encoding="utf-8")
    tree = ast.parse(before)
    change(list(changeable(tree))[place.index])
    changed.write_text(ast.unparse(tree), encoding="utf-8")
    try:
        code = exit_code(tests)
    finally:
        changed.write_text(before, encoding="utf-8")
    if code == 0:
        return "SURVIVES"
    return "too slow" if code == -signal.SIGALRM else "noticed" if passes_unchanged(tests) else "fails"


@cache
def passes_unchanged(tests: tuple[Path, ...]) -> bool:
    """Return whether the tests pass without a change; otherwise their failure says nothing about one."""
    return exit_code(tests) == 0


def exit_code(tests: tuple[Path, ...]) -> int:
    """Run the tests in a fork of this process."""
    child = os.fork()
    if child == 0:
        run_tests(tests)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_tests(tests: tuple[Path, ...]) -> NoReturn:
    """End this process with pytest's exit code, or by an alarm."""
    signal.alarm(SECONDS)
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *map(str, tests)])))


def describe(place: Place) -> str:
    """Return a change as ``file:line before → after``."""
    tree = ast.parse(place.path.read_text(encoding="utf-8"))
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    node = list(changeable(tree))[place.index]
    shown = node if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp) else parents[node]
    before = ast.unparse(shown)
    change(node)
    line = getattr(node, "lineno", 0)
    return f"{place.path.relative_to(ROOT)}:{line}  {before[:100]!r} → {ast.unparse(shown)[:100]!r}"


def main() -> None:
    """Print each change and what became of it, then the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="how many places to change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--under", default="", help="a room, such as tasks")
    given = parser.parse_args()
    files = sorted((SOURCE / "bertie" / given.under).rglob("*.py"))
    places = [
        Place(file, index)
        for file in files
        for index in range(len(list(changeable(ast.parse(file.read_text(encoding="utf-8"))))))
    ]
    chosen = random.Random(given.seed).sample(places, min(given.count, len(places)))
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "src"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        (Path(folder) / "models").symlink_to(ROOT / "models")  # the models that come with bertie lie beside src/
        sys.path.insert(0, str(package))
        os.environ["PYTHONPATH"] = str(package)
        sys.dont_write_bytecode = True
        os.chdir(ROOT)
        for place in chosen:
            tests = tuple(nearest_tests(place.path))
            said = f"{describe(place)}  [{', '.join(str(file.relative_to(TESTS)) for file in tests) or 'no tests'}]"
            found = outcome(place, package, tests)
            print(f"{found:<8}  {said}", flush=True)
            if found == "SURVIVES":
                survivors.append(said)
    print(f"\n{len(survivors)} of {len(chosen)} changes survive:", *survivors, sep="\n")


if __name__ == "__main__":
    main()
