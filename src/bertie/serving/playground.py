"""The page at ``/`` for trying the served models: HTML, CSS and JavaScript in one response."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

from bertie.serving.http_app import GetRoute
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.tei_shapes import render_error


@cache
def page() -> tuple[str, str]:
    """Return the page, and the content security policy that allows its own script and style and nothing else."""
    html, css, js = (Path(__file__).with_suffix(f".{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    for tag, part in (("style", css), ("script", js)):
        html = html.replace(f"<{tag}></{tag}>", f"<{tag}>{part}</{tag}>")
    policy = {
        "default-src": "'none'",
        "script-src": _hash_of(js),
        "style-src": _hash_of(css),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return html, "; ".join(map(" ".join, policy.items()))


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


async def show_page(_: Service, __: Metrics) -> HTMLResponse:
    """Reply with the page; it is public, and learns about the models only by requests, with a key if one is needed."""
    html, policy = page()
    headers = {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return HTMLResponse(html, headers=headers | {"cache-control": "no-cache"})


ROUTES = (GetRoute("/", show_page, render_error, public=True, media_types=("text/html",)),)
