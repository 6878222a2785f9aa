"""The page at `/` in a real browser: with mouse and keyboard, in light and dark, narrow and wide."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bertie.serving.playground import page as page_and_policy

Open = Callable[..., Any]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MODELS = ("words", "tags", "spans", "several", "score", "choices", "vectors", "classes", "writes")
ATTACK = "<img src=x onerror=alert(1)><script>alert(1)</script> 😀 Ada"
# dev-only: an unpacked `npm pack axe-core` in node_modules/ here, as npm install leaves it
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


def start(folders: dict[str, Path], *arguments: str) -> tuple[subprocess.Popen[str], str]:
    given = [f"{name}={folders[name]}" for name in MODELS]
    command = [sys.executable, "-m", "bertie", "serve", *given, "--port", "0", "--no-log-requests", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    return process, process.stderr.readline().rpartition(" at ")[2].strip()


@pytest.fixture(scope="module")
def url(folders: dict[str, Path]) -> Iterator[str]:
    process, address = start(folders)
    yield address
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, url: str) -> Iterator[Open]:
    """A function that opens the page; errors that the page does not show fail the test."""
    contexts, wrong = [], []

    def open_page(address: str = url, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: None if asked.url.startswith((address, "data:")) else wrong.append(asked.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def ask(page: Any, model: str, view: str, **fields: str) -> str:
    """Ask in a view, and return the summary of the answer, or the error."""
    page.get_by_label("Model").select_option(model)
    page.get_by_role("radio", name=view, exact=True).check(force=True)
    for label, text in fields.items():
        page.get_by_label(label.replace("_", " ")).fill(text)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator("#status small, #error:not(:empty)").first.wait_for()
    return str(page.locator("#status").inner_text() or page.locator("#error").inner_text())


def rows(page: Any) -> list[str]:
    return list(page.locator("#answer tr").all_inner_texts())


def test_every_view_shows_an_answer(opened: Open) -> None:
    page = opened()
    ask(page, "words", "Fills")
    assert len(rows(page)) == 8
    assert ask(page, "words", "Next sentence").startswith("The second text")
    assert "entit" in ask(page, "tags", "Entities")
    ask(page, "spans", "Answers", Question="Who?")
    assert page.locator("mark").count() == 1
    assert ask(page, "classes", "Classes").split()[0] in ("bad", "fair", "good")
    ask(page, "several", "Classes")
    assert re.search(r"[<≥] 50.0 %", rows(page)[0])
    assert ask(page, "score", "Ranks").startswith("First: ")
    assert ask(page, "choices", "Choices").startswith("Best: ")
    assert ask(page, "writes", "Writing").startswith("What the model writes")
    assert page.locator("#answer .text").inner_text()
    assert ask(page, "vectors", "Nearest texts").startswith("Nearest: ")
    assert len(rows(page)) == 3
    page.get_by_label("Texts to compare, one a line").fill("one\n\ntwo")
    page.get_by_label("Texts to compare, one a line").press("Control+Enter")
    page.get_by_role("cell").nth(3).wait_for()
    assert len(rows(page)) == 2


def test_entities_are_marked(opened: Open) -> None:
    page = opened()
    ask(page, "tags", "Entities", Text=ATTACK)
    shown = page.locator("#answer .text")
    labels = [label.inner_text() for label in shown.locator("small").all()]
    text = shown.inner_text()
    for label in labels:
        text = text.replace(f" {label}", "", 1)
    assert text == ATTACK, "what is typed is shown as it is, and nothing of it is HTML"
    assert shown.locator("img").count() == 0
    for row in rows(page):
        assert row.split("(")[0].strip() in ATTACK, "characters beyond the 16 bits of a unit count as one"


def test_tokens_and_attention(opened: Open) -> None:
    page = opened()
    assert ask(page, "tags", "Tokens", Text="A cat sat unbelievably.").startswith("11 tokens; the model takes 64")
    tokens = [one.inner_text() for one in page.locator(".tokens b").all()]
    assert tokens[:4] == ["[CLS]", "a", "cat", "sat"]
    assert any(token.startswith("##") for token in tokens)
    ask(page, "tags", "Attention")
    buttons = page.get_by_role("group", name="Tokens").get_by_role("button")
    assert [button.inner_text() for button in buttons.all()] == tokens
    buttons.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("[aria-pressed=true]").inner_text() == "cat"
    assert page.locator(":focus").inner_text() == "cat"
    assert "What “cat” attends to" in page.locator("#answer caption").inner_text()
    page.get_by_label("Head").select_option("1")
    page.get_by_text("Head 1 of layer 0").wait_for()


def test_truncation_is_reported(opened: Open) -> None:
    page = opened()
    ask(page, "classes", "Classes", Text="one two " * 60)
    assert "58 tokens did not fit into the model and were cut off." in page.locator("#error").inner_text()


def test_errors_show_the_message_of_the_server(opened: Open, url: str) -> None:
    page = opened()
    page.get_by_label("Model").select_option("tags")
    page.get_by_label("Text", exact=True).fill("")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.get_by_role("alert").filter(has_text="`inputs` cannot be empty").wait_for()
    assert "[MASK]" in ask(page, "words", "Fills", Text_with_masks="no masks")
    page.route("**/tokenize", lambda route: route.abort())
    assert ask(page, "words", "Tokens") == "The server does not answer."


def test_the_curl_and_python_code_gives_the_same_answer(opened: Open) -> None:
    page = opened()
    text = 'It\'s "quoted" \\ and $HOME `true` true\nin two lines 😀'
    ask(page, "tags", "Entities", Text=text)
    page.get_by_text("The same with curl and Python").click()
    shell, script = (code.inner_text() for code in page.locator("code").all())
    if shutil.which("curl"):
        reply = subprocess.run(["bash", "-c", f"{shell} -s"], capture_output=True, text=True, check=True).stdout
        assert len(json.loads(reply)["entities"]) == len(rows(page))
    asked: dict[str, Any] = {}

    class Requests:
        @staticmethod
        def post(url: str, **more: Any) -> Any:
            asked.update(more, url=url)
            return Requests

        @staticmethod
        def json() -> None: ...

    exec(script.replace("import os, requests; ", ""), {"requests": Requests})
    assert asked["json"] == {"inputs": text, "model": "tags"}


def test_a_key_is_requested_and_never_stored(opened: Open, folders: dict[str, Path]) -> None:
    process, address = start(folders, "--api-key", "secret1")
    try:
        page = opened(address)
        page.get_by_role("alert").filter(has_text="The API key is missing or wrong").wait_for()
        page.get_by_label("API key").fill("secret1")
        page.keyboard.press("Enter")
        page.get_by_role("radio", name="Fills").wait_for(state="attached")
        assert len(ask(page, "words", "Fills")) > 0
        page.get_by_text("The same with curl and Python").click()
        assert "secret1" not in page.content()
        assert "$BERTIE_API_KEY" in page.locator("code").first.inner_text()
        assert page.context.storage_state() == {"cookies": [], "origins": []}
    finally:
        process.kill()
        process.wait()


def test_keyboard_only(opened: Open) -> None:
    page = opened()
    page.get_by_role("radio", name="Fills").wait_for(state="attached")
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.locator(":focus").get_attribute("id") or page.locator(":focus").get_attribute("name"))
    assert reached == ["model", "view", "masked", None, "ask", None]  # the buttons, and the summary of the code
    page.locator("#views input:checked").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="Next sentence").is_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_layout_and_accessibility(opened: Open, scheme: str, width: int) -> None:
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
    wide = "W" * 300
    for model, view, fields in (
        ("tags", "Entities", {"Text": wide}),
        ("several", "Classes", {}),
        ("tags", "Tokens", {}),
        ("tags", "Attention", {}),
    ):
        ask(page, model, view, **fields)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if AXE.is_file():
            page.add_script_tag(path=AXE)
            found = page.evaluate("axe.run()")["violations"]
            assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_content_security_policy(browser: Any, url: str) -> None:
    html, policy = page_and_policy()
    assert not re.search(r"(src|href)=(?!\"data:,\")|@import|url\(|innerHTML|insertAdjacentHTML|document\.write", html)
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    page = browser.new_page()
    page.goto(url)
    page.get_by_role("radio", name="Fills").wait_for(state="attached")
    with pytest.raises(Exception, match="Trusted|Content Security Policy"):
        page.evaluate("document.body.innerHTML = '<img src=x onerror=alert(1)>'")
    page.close()
