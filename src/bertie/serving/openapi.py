"""The OpenAPI document, generated from the types of request bodies and the errors of the routes."""

from collections.abc import Sequence
from typing import Any

import msgspec

import bertie
from bertie.serving.http_app import ErrorRenderer, GetRoute, PostRoute
from bertie.serving.refusals import GONE, KINDS, VALIDATION, Kind, Refusal
from bertie.serving.tei_shapes import render_error

_JSON = "application/json"


def route_of(routes: Sequence[PostRoute | GetRoute], with_keys: bool) -> GetRoute:
    """Return the route that replies with the document of ``routes``."""
    found = document(routes, with_keys)

    async def openapi(*_: Any) -> Any:
        """Reply with this document."""
        return found

    return GetRoute("/openapi.json", openapi, render_error, public=True)


def document(routes: Sequence[PostRoute | GetRoute], with_keys: bool) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of routes; ``with_keys``: routes that are not public need a key."""
    posted = [route for route in routes if isinstance(route, PostRoute)]
    schemas, components = msgspec.json.schema_components(
        [route.shape for route in posted], ref_template="#/components/schemas/{name}"
    )
    bodies = {route.path: schema for route, schema in zip(posted, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in routes:
        more: dict[str, Any] = {}
        if isinstance(route, PostRoute):
            more["requestBody"] = {"required": True, "content": {_JSON: {"schema": bodies[route.path]}}}
        if with_keys and not (isinstance(route, GetRoute) and route.public):
            more["security"] = [{"key": []}]
        method = "post" if isinstance(route, PostRoute) else "get"
        paths.setdefault(route.path, {})[method] = {
            "operationId": f"{method}{route.path.replace('/', '_')}",
            "description": " ".join((route.reply.__doc__ or "").split()),
            "responses": _responses(route),
            **more,
        }
    found: dict[str, Any] = {"schemas": components}
    if with_keys:
        found["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    info = {"title": "bertie", "version": bertie.__version__, "description": "BERT models over HTTP."}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": found}


def _responses(route: PostRoute | GetRoute) -> dict[str, Any]:
    media = route.media_types if isinstance(route, GetRoute) else (_JSON, "application/octet-stream")
    answered = {"description": "The answer.", "content": {name: {} for name in media}}
    statuses = sorted({_rendered(route.render_error, kind)[0] for kind in KINDS if kind is not GONE})
    error = _schema_of(_rendered(route.render_error, VALIDATION)[1])
    refused = {"description": "Why there is no answer.", "content": {_JSON: {"schema": error}}}
    return {"200": answered, **{str(status): refused for status in statuses}}


def _rendered(render_error: ErrorRenderer, kind: Kind) -> tuple[int, Any]:
    return render_error(Refusal(kind, ""))


def _schema_of(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        inner = {name: _schema_of(one) for name, one in value.items()}
        return {"type": "object", "required": list(inner), "properties": inner}
    return {"type": "string"} if value is not None else {"type": ["string", "null"]}
