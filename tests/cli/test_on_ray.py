"""A file answered in shards on a local Ray cluster of two workers, and the server as a deployment with two replicas."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.cli import main
from bertie.cli.on_ray import _ranges
from bertie.errors import InputError

TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
LINES = 400


@pytest.fixture(scope="module")
def model(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    bertie.BertForSequenceClassification(bertie.BertConfig(**TINY)).save_pretrained(folder)
    bertie.BertTokenizer.from_pretrained(mini).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.jsonl"
    rows = (json.dumps({"number": number, "text": f"a line {number} ü"}, ensure_ascii=False) for number in range(LINES))
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bertie", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize("shard", [1, 7, 100, 1 << 20])
def test_shards_are_all_lines_in_order(shard: int, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.cli.on_ray.SHARD_BYTES", shard)
    whole = texts.read_bytes()
    parts = [whole[start:stop] for start, stop in _ranges(texts)]
    assert b"".join(parts) == whole
    assert all(part.endswith(b"\n") for part in parts)


def test_inputs_that_cannot_be_sharded_are_refused(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", sys)
    monkeypatch.setitem(sys.modules, "ray.data", sys)
    (tmp_path / "table.csv").write_text("text\na\n")
    (tmp_path / "wide.jsonl").write_text('{"text": "a"}\n', encoding="utf-16")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other").touch()
    out = ("--output", tmp_path / "out")
    for arguments, said in (
        (("a text", *out), "--ray answers one file; name it with --input."),
        (("--input", texts), "--ray writes a folder of shards; name it with --output."),
        (("--input", tmp_path / "table.csv", *out), "must be JSON lines, or plain text, in UTF-8"),
        (("--input", tmp_path / "wide.jsonl", *out), "must be JSON lines, or plain text, in UTF-8"),
        (("--input", texts, "--output", tmp_path / "full"), "holds other files"),
    ):
        assert run(monkeypatch, "classify", "--ray", *arguments) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_resumed(
    cluster: Any, model: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertie.cli.on_ray.SHARD_BYTES", 3_000)
    folder, whole = tmp_path / "answers", tmp_path / "whole.jsonl"
    command = ("classify", "--model", model, "--input", texts)
    assert run(monkeypatch, *command, "--output", whole) == 0
    assert run(monkeypatch, *command, "--ray", "--output", folder) == 0
    parts = sorted(folder.glob("part-*.jsonl"))
    assert len(parts) > 3
    assert "".join(part.read_text("utf-8") for part in parts) == whole.read_text("utf-8")
    kept = parts[0].stat().st_mtime_ns
    parts[1].unlink()
    assert run(monkeypatch, *command, "--ray", "--output", folder) == 0
    assert parts[1].is_file()
    assert parts[0].stat().st_mtime_ns == kept, "what is there is not answered again"
    assert run(monkeypatch, *command, "--top-k", 1, "--ray", "--output", folder) == 2, "of other options"


@pytest.mark.slow
def test_vectors_as_arrays_and_an_error_of_a_worker(
    cluster: Any,
    mini: Path,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("bertie.cli.on_ray.SHARD_BYTES", 8_000)
    command = ("embed", "--ray", "--model", mini, "--max-length", 8, "--input", texts)
    assert run(monkeypatch, *command, "--to", "npy", "--output", tmp_path / "vectors") == 0
    arrays = [np.load(part) for part in sorted((tmp_path / "vectors").glob("*.npy"))]
    assert sum(map(len, arrays)) == LINES
    assert run(monkeypatch, *command, "--column", "text=body", "--output", tmp_path / "wrong") == 2
    assert "'body'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_server_as_a_deployment(cluster: Any, model: Path) -> None:
    serve = pytest.importorskip("ray.serve")
    httpx2 = pytest.importorskip("httpx2")
    from bertie.serving.ray_deployment import application

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"port": port, "host": "127.0.0.1"})
    serve.run(application({"models": f"m={model}", "replicas": 2, "cpus": 0.5}), route_prefix="/")
    try:
        url = f"http://127.0.0.1:{port}"
        replies = [httpx2.post(f"{url}/predict", json={"inputs": "a"}, timeout=60).json() for _ in range(8)]
        wanted = bertie.pipeline("text-classification", model)("a")[0]
        assert {reply[0]["label"] for reply in replies} == {wanted["label"]}
        assert httpx2.get(f"{url}/health", timeout=60).status_code == 200
        refused = httpx2.post(f"{url}/embed", json={"inputs": "a"}, timeout=60)
        assert refused.json()["error"] == "model is not an embedding model"
    finally:
        serve.shutdown()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "No model is named"),
        ({"model": "m"}, "Did you mean 'models'?"),
        ({"models": "m", "replicas": "many"}, "replicas is 'many'; give a number"),
    ],
)
def test_invalid_deployments(given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bertie.serving.ray_deployment import application

    monkeypatch.setitem(sys.modules, "ray", sys)
    monkeypatch.setitem(sys.modules, "ray.serve", sys)
    with pytest.raises(InputError, match=said):
        application(given)
