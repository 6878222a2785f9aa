"""Serving: models behind HTTP, in the shapes that clients already send. Requests of all connections share batches.

From the bottom up: batches (`step_queue`, `scheduler`), models (`served_model`), answers and limits (`service`), one
request (`exchange`), the bodies of each family of clients (``*_shapes``) and their routes (``*_routes``), the whole
(`http_app`, which `openapi` describes), its process (`server_process`), and several of them (`worker_processes`). The
first four know nothing of HTTP.
"""

from bertie.extras import need

# what the extra installs, as it is imported
_NEEDED = ("uvicorn", "httptools", "starlette", "msgspec", "prometheus_client")


def check_extra() -> None:
    """Refuse by one sentence to serve where a package of the extra is missing."""
    for module in _NEEDED:
        need(module, "serve", "bertie serve")
