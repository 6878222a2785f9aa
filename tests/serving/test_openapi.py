"""The OpenAPI document, and requests that schemathesis generates from it: valid ones, and nearly valid ones."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.serving.conftest import KINDS, Process

from bertie.serving.http_app import PostRoute
from bertie.serving.server_process import ROUTES

CHECKS = [
    checks.not_a_server_error,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def document(folders: dict[str, Path]) -> Iterator[Any]:
    """The document of a server with a model of each kind."""
    with ExitStack() as stack:
        running = Process(*(str(folders[kind]) for kind in (*KINDS, "pair")), "--api-key", "k", "--no-log-requests")
        stack.callback(running.process.kill)
        yield schemathesis.openapi.from_url(f"{running.url}/openapi.json")
        assert running.end() == (0, ""), "nothing went wrong that is only in the log"


def send(document: Any, route: Any, examples: int) -> None:
    """Send ``examples`` valid and nearly valid requests to a route, the same in every run, and check the answers."""
    operation = document[route.path]["POST" if isinstance(route, PostRoute) else "GET"]
    for mode in GenerationMode if isinstance(route, PostRoute) else [GenerationMode.POSITIVE]:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, headers={"Authorization": "Bearer k"})

        run()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{type(route).__name__} {route.path}")
def test_requests_of_every_route(document: Any, route: Any) -> None:
    send(document, route, 4)


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{type(route).__name__} {route.path}")
def test_many_requests_of_every_route(document: Any, route: Any) -> None:
    send(document, route, 300)


def test_every_route_is_there(served: Callable[..., Any]) -> None:
    found = served("vectors").get("/openapi.json").json()
    assert set(found["paths"]) == {route.path for route in ROUTES}
    body = found["paths"]["/embed"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "truncation_direction" in found["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    assert "security" not in found["paths"]["/embed"]["post"]
    assert served("vectors", keys=("k",)).get("/openapi.json").json()["paths"]["/embed"]["post"]["security"]
