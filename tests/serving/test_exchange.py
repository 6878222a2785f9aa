"""Replies: JSON of arrays, and where it is encoded."""

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bertie.serving import http_app
from bertie.serving.exchange import json_of


def test_arrays_are_lists_rows_and_records() -> None:
    cube = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 3
    words = np.array([(7, 0.1), (9, 2.0)], [("index", np.int64), ("value", np.float32)])
    reply = {"vectors": cube, "none": cube[:0], "whole": np.array([1, -2]), "words": [words]}
    assert json.loads(json_of(reply)) == {
        "vectors": cube.tolist(),
        "none": [],
        "whole": [1, -2],
        "words": [[{"index": 7, "value": float(words["value"][0])}, {"index": 9, "value": 2.0}]],
    }


def test_large_replies_are_encoded_off_the_event_loop(
    served: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def watched(value: Any) -> bytes:
        threads.append(threading.current_thread().name)
        return json_of(value)

    monkeypatch.setattr(http_app, "json_of", watched)
    client = served("vectors")
    for path, body in (
        ("/embed", {"inputs": "a few words"}),
        ("/embed", {"inputs": ["a few words"] * 500}),
        ("/embed", {"inputs": [[1, 2]] * 2_048}),
        ("/embed_spans", {"inputs": "a few words", "spans": [[0, 1]] * 5_000}),
    ):
        assert client.post(path, json=body).status_code == 200
    assert [name.startswith("bertie-read") for name in threads] == [False, True, True, True]
