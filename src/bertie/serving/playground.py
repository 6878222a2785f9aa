"""The page at ``/``, where people try the served models: one file without network, put together from three."""

import base64
import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

from bertie.serving.http_app import Asked
from bertie.serving.service import Service
from bertie.serving.service_metrics import Metrics
from bertie.serving.tei_shapes import tell


@cache
def page() -> tuple[str, str]:
    """Return the page, and the policy under which a browser runs its own script and style and nothing else."""
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
    """Reply with the page; it knows nothing of the models until it asks, with a key where one is needed."""
    html, policy = page()
    headers = {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return HTMLResponse(html, headers=headers | {"cache-control": "no-cache"})


ROUTES = (Asked("/", show_page, tell, public=True, media_types=("text/html",)),)
