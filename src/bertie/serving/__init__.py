"""Serving: models over HTTP, in the formats that existing clients use. Requests of all connections share batches.

From the bottom up: batches (`step_queue`, `scheduler`), models (`served_model`), answers and limits (`service`), one
request (`exchange`), the bodies of each API family (``*_shapes``) and its routes (``*_routes``), the application
(`http_app`, which `openapi` describes), its process (`server_process`), and several of them (`worker_processes`). The
first four know nothing of HTTP.
"""

import os
from collections.abc import Sequence

from bertie.errors import InputError
from bertie.extras import need

KEYS = "BERTIE_API_KEYS"

# import names of the packages of the extra
_NEEDED = ("uvicorn", "httptools", "starlette", "msgspec", "prometheus_client")


def check_extra() -> None:
    """Raise an error that names the extra if one of its packages is missing."""
    for module in _NEEDED:
        need(module, "serve", "bertie serve")


def read_keys(given: Sequence[str] = ()) -> list[str]:
    """Return the API keys of the options and of ``BERTIE_API_KEYS``; an empty one is an error, as it would open the
    server to everyone.
    """
    listed = os.environ.get(KEYS)
    from_list = [key for key in (listed or "").split(",") if key]
    for name, is_empty in (("--api-key", "" in given), (KEYS, listed is not None and not from_list)):
        if is_empty:
            raise InputError(f"{name} is empty, which would let everyone in; give a key, or leave it out.")
    keys = [*given, *from_list]
    if any(not key.isascii() or not key.isprintable() or " " in key for key in keys):
        raise InputError(
            "An API key has characters that are not allowed in a header; use letters, digits and punctuation."
        )
    return keys
