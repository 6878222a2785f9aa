"""A real process on a real port: start-up, authentication, and shutdown."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from tests.serving.conftest import Process

import bertie
from bertie.cli import main
from bertie.errors import BertieError
from bertie.serving import check_extra

LONG = ["some words of a long text " * 8] * 1000


def test_the_openai_client_unchanged(process: Callable[..., Process], folders: dict[str, Path]) -> None:
    openai = pytest.importorskip("openai")
    running = process(f"v={folders['vectors']}", "--api-key", "k1")
    client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="k1", max_retries=0)
    reply = client.embeddings.create(input=["a cat", "a dog"], model="v")  # the client asks for base64
    vectors = bertie.pipeline("embed", folders["vectors"])(["a cat", "a dog"])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose([one.embedding for one in reply.data], vectors, atol=1e-6)
    assert reply.usage.total_tokens == 8
    assert [model.id for model in client.models.list()] == ["v"]
    with pytest.raises(openai.NotFoundError, match="no model 'other'"):
        client.embeddings.create(input="a", model="other")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="no", max_retries=0).models.list()


def test_accepted_requests_are_answered_before_shutdown(
    process: Callable[..., Process], folders: dict[str, Path]
) -> None:
    running = process(str(folders["vectors"]))
    replies: list[int] = []

    def ask() -> None:
        replies.append(running.post("/embed", {"inputs": LONG}).status_code)

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    while not replies and "bertie_requests_in_flight 8.0" not in httpx2.get(running.url + "/metrics").text:
        time.sleep(0.005)
    code, said = running.end()
    for client in clients:
        client.join()
    assert code == 0
    # those whose connection was not yet accepted got no answer at all, the others the whole one
    assert set(replies) == {200}
    lines = [json.loads(line) for line in said.splitlines() if '"event":"request"' in line]
    assert len(lines) == len(replies)


def test_no_texts_or_keys_in_the_log(process: Callable[..., Process], folders: dict[str, Path]) -> None:
    running = process(str(folders["vectors"]), BERTIE_API_KEYS="secretkey,otherkey")
    for key in ("secretkey", "otherkey", "wrongkey"):
        headers = {"authorization": f"Bearer {key}", "x-request-id": "x" * 100 if key == "otherkey" else "mine"}
        running.post("/embed", {"inputs": "privatewords", "prompt_name": None}, headers=headers)
    code, said = running.end()
    assert code == 0
    assert not any(
        word in running.began + said for word in ("secretkey", "otherkey", "wrongkey", "privatewords", "\x1b")
    )
    assert [json.loads(line)["status"] for line in said.splitlines()] == [200, 200, 401]
    assert json.loads(said.splitlines()[0])["id"] == "mine"


def test_slow_heads_and_disconnecting_clients(process: Callable[..., Process], folders: dict[str, Path]) -> None:
    running = process(str(folders["vectors"]), "--timeout", "2")
    body = json.dumps({"inputs": LONG * 2}).encode()
    head = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with running.connect() as slow, running.connect() as leaving:
        slow.sendall(head % len(body))  # and no body
        leaving.sendall(head % len(body) + body)
        leaving.close()
        assert running.post("/embed", {"inputs": "a"}).status_code == 200
        assert b" 408 " in slow.recv(1000)
    code, said = running.end()
    assert code == 0
    assert sorted(json.loads(line)["status"] for line in said.splitlines()) == [200, 408, 499]


def test_models_that_cannot_be_served_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "bertie", "serve", *arguments], capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stderr

    vectors = str(folders["vectors"])
    assert "Two models are called 'v'; give one of them" in run(f"v={vectors}", f"v={vectors}", f"w={vectors}")[1]
    code, said = run(str(tmp_path))
    assert (code, said.count("\n")) == (2, 1)
    model = bertie.BertModel.from_pretrained(vectors)
    model.embeddings.LayerNorm.weight.data[:] = 3e38
    for saved in (model, bertie.BertTokenizer.from_pretrained(vectors)):
        saved.save_pretrained(tmp_path / "broken")
    for more in ((), ("--workers", "2")):
        code, said = run(str(tmp_path / "broken"), *more)
        assert (code, said.count("\n")) == (2, 1)
        assert "The model gives NaN or infinite numbers" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = run(str(folders["vectors"]), "--port", str(taken.getsockname()[1]))
        port = taken.getsockname()[1]
    assert code == 2
    assert f"Port {port} of 127.0.0.1 cannot be opened: Address already in use; choose another --port" in said


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["--api-key", ""], {}, "--api-key is empty, which would let everyone in"),
        ([], {"BERTIE_API_KEYS": ","}, "BERTIE_API_KEYS is empty"),
        (["--api-key", "a b"], {}, "characters that are not allowed in a header"),
        (["--timeout", "nan"], {}, "--timeout is nan; give seconds"),
        (["--timeout", "inf"], {}, "--timeout is inf; give seconds"),
        (
            ["--otlp-endpoint", "localhost:4318"],
            {},
            "--otlp-endpoint is 'localhost:4318'; give an address such as http",
        ),
    ],
)
def test_options_that_would_open_or_break_the_server_are_refused(
    arguments: list[str],
    environment: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["bertie", "serve", "./none", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(BertieError) as error:
        check_extra()
    assert str(error.value) == "bertie serve needs uvicorn, which is not installed: pip install 'bertie[serve]'"
