"""While a GPU computes, batches are prepared and texts read ahead. Here the CPU plays the GPU."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from computing import of_module

from bertie.errors import InputTypeError
from bertie.models.task_model import TaskModel
from bertie.tasks.tensors import ON_TENSORS

TEXTS = [f"word {number} " * (number % 5 + 1) for number in range(12)]


@pytest.fixture
def classify(tiny: Callable[..., Path]) -> Any:
    return of_module("text-classification", tiny("BertForSequenceClassification"))


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pipelines believe that the CPU is a CUDA device."""
    monkeypatch.setattr(TaskModel, "device_type", "cuda")


def test_a_batch_is_launched_while_another_is_fetched(
    classify: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = classify(TEXTS, batch_size=3)
    request.getfixturevalue("on_a_gpu")
    run, total = type(classify.codec).run, ON_TENSORS.total
    launching, both_wait = threading.Lock(), threading.Barrier(2, timeout=30)

    def launch(self: Any, *given: Any) -> torch.Tensor:
        assert launching.acquire(blocking=False), "batches are launched in turn"
        time.sleep(0.01)
        launching.release()
        return run(self, *given)

    def wait(output: torch.Tensor) -> torch.Tensor:
        both_wait.wait()
        return total(output)

    monkeypatch.setattr(type(classify.codec), "run", launch)
    monkeypatch.setattr(ON_TENSORS, "total", wait)
    assert [answer["label"] for answer in classify(TEXTS, batch_size=3)] == [answer["label"] for answer in expected]


def test_one_batch_needs_no_thread(classify: Any, on_a_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    total = ON_TENSORS.total
    monkeypatch.setattr(ON_TENSORS, "total", lambda it: seen.append(threading.current_thread()) or total(it))
    classify(TEXTS)
    assert seen == [threading.main_thread()]


@pytest.mark.parametrize(("chunk", "ahead"), [(1, 1), (2, 4), (5, 10)])
def test_texts_are_read_one_chunk_ahead_but_not_one_by_one(
    classify: Any, on_a_gpu: None, chunk: int, ahead: int
) -> None:
    taken: list[threading.Thread] = []

    def source() -> Iterator[str]:
        for text in TEXTS:
            taken.append(threading.current_thread())
            yield text

    answers = classify.stream(source(), chunk=chunk)
    next(answers)
    assert taken == [threading.main_thread()] * ahead
    assert len(list(answers)) == len(TEXTS) - 1


def test_on_a_cpu_no_text_is_read_ahead(classify: Any) -> None:
    source = iter(TEXTS)
    next(classify.stream(source, chunk=2))
    assert next(source) == TEXTS[2]


def test_an_error_comes_after_the_answers_before_it(classify: Any, on_a_gpu: None) -> None:
    def fails() -> Iterator[str]:
        yield from TEXTS[:4]
        raise ValueError("no more")

    sources: list[tuple[Any, type[Exception], str]] = [
        (iter([*TEXTS[:5], None]), InputTypeError, "Input 5 is None"),
        (fails(), ValueError, "no more"),
    ]
    for source, kind, message in sources:
        answers = classify.stream(source, chunk=2)
        assert len([next(answers) for _ in range(4)]) == 4
        with pytest.raises(kind, match=message):
            next(answers)
