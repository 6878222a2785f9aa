"""The page of examples/browser, in Chromium: its tokenizer and its vectors are bertie's."""

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import bertie

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.slow


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The page with its packages and a model, served."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    for path in EXAMPLE.glob("*.*"):
        shutil.copy(path, tmp_path)
    done = subprocess.run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"npm brings no packages: {done.stderr.splitlines()[-1]}")
    bertie.export_onnx("bertie-mini-uncased", tmp_path / "model", "embed")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_the_page_ranks_as_bertie_does(address: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("#state[data-answered]", timeout=120_000)
        notes, question = (page.input_value(f"#{name}") for name in ("notes", "question"))
        found = {}
        for item in page.query_selector_all("#answers li"):
            text, score = item.inner_text().rsplit(maxsplit=1)
            found[text.strip()] = float(score)
        browser.close()
    lines = notes.splitlines()
    vectors = bertie.pipeline("embed", "bertie-mini-uncased", normalize=True)([question, *lines])
    wanted = dict(zip(lines, (vectors[1:] @ vectors[0]).tolist(), strict=True))
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose([found[line] for line in lines], [wanted[line] for line in lines], atol=0.03)
