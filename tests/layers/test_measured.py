"""Measured kernels: kept for this machine alone, preferred to the table, and never by what must be deterministic."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bertie.bench import kernels as bench
from bertie.bench.kernels import Timed, fastest_of, table, time_kernels
from bertie.layers import operators
from bertie.layers.kernels import Weights, choose, explain
from bertie.layers.measured import _read, fastest, measured_as, remember, why_unread
from bertie.models.explain import explain_linear

FLOATS = measured_as(torch.float32, 1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for memo in (_read, choose):
        memo.cache_clear()
    yield tmp_path / "bertie" / "kernels.json"
    for memo in (_read, choose):
        memo.cache_clear()


def test_nothing_measured() -> None:
    assert fastest(torch.float32, 1) is None


@pytest.mark.skipif(not operators.packing_works(torch.float32), reason="nothing to choose between")
@pytest.mark.parametrize("name", ["onednn", "plain"])
def test_what_was_measured_is_chosen(cache: Path, name: str) -> None:
    assert remember({FLOATS: name}) == cache
    assert choose(Weights("cpu", torch.float32)).name == name
    assert f"{name:<11}  chosen" in explain(Weights("cpu", torch.float32))
    assert choose(Weights("cpu", torch.float32, deterministic=True)).name in ("native", "onednn")
    assert choose(Weights("cuda", torch.float32)).name == "plain"


def test_a_kernel_that_cannot_is_not_chosen() -> None:
    remember({measured_as(torch.float64, 1): "onednn", FLOATS: "unheard-of"})
    assert choose(Weights("cpu", torch.float64)).name == "plain"
    assert choose(Weights("cpu", torch.float32)) is not None


def test_other_machines_are_measured_anew(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    remember({FLOATS: "onednn"})
    monkeypatch.setattr("os.cpu_count", lambda: 99)
    _read.cache_clear()
    assert fastest(torch.float32, 1) is None
    remember({FLOATS: "plain"})
    assert cache.read_text().count("torch.float32") == 2


def test_a_broken_file_is_not_used(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("{")
    assert fastest(torch.float32, 1) is None
    assert "not valid JSON" in why_unread()
    assert explain_linear(torch.nn.Linear(2, 2)).splitlines()[-1].startswith("What was measured on this machine is not")
    assert remember({FLOATS: "plain"}) == cache
    assert (fastest(torch.float32, 1), why_unread()) == ("plain", "")


@pytest.mark.parametrize("refused", [PermissionError(13, "Permission denied"), RuntimeError("no home directory.")])
def test_a_home_that_cannot_be_entered_is_as_good_as_none(refused: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise refused

    monkeypatch.setattr(Path, "is_file", refuse)
    assert choose(Weights("cpu", torch.float32)) is not None
    assert explain_linear(torch.nn.Linear(2, 2)).endswith(f": {str(refused).removesuffix('.')}.")


def test_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_SECONDS", 0.0)
    monkeypatch.setattr(bench, "SIZES", ((16, 8),))
    timed = time_kernels()
    assert {"plain"} <= {each.kernel for each in timed if each.dtype == torch.float32}
    assert all(each.few > 0 and each.many > 0 for each in timed)
    assert len(table(timed).splitlines()) == 2 + len(timed)


def test_the_fastest_with_many_rows_wins() -> None:
    timed = [
        Timed(torch.float32, threads, kernel, few, many)
        for threads, kernel, few, many in ((1, "plain", 9, 100), (1, "onednn", 1, 200), (2, "plain", 1, 300))
    ]
    assert fastest_of(timed) == {measured_as(torch.float32, 1): "onednn", measured_as(torch.float32, 2): "plain"}
