"""The schedules of the learning rate, against numbers worked out by hand and those of transformers."""

import math

import pytest
import torch
from transformers import get_scheduler

from bertie.settings import Settings
from bertie.training.schedule import rate_factor


def factors(total: int, warmup: int, kind: str, cooldown: float = 0.0) -> list[float]:
    return [rate_factor(step, total, warmup, kind, cooldown) for step in range(total)]


def test_the_schedules() -> None:
    assert factors(10, 4, "linear") == pytest.approx([0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
    assert factors(4, 0, "cosine") == pytest.approx([1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2])
    assert factors(5, 2, "constant") == [0.5, 1, 1, 1, 1]
    assert factors(10, 2, "wsd", 0.4) == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert factors(8, Settings(schedule="triangle").warmup_steps(8), "triangle") == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]
    )
    for kind in ("linear", "cosine", "constant", "triangle", "wsd"):
        assert all(factor > 0 for factor in factors(3, 3, kind, 0.2))


@pytest.mark.parametrize(
    ("kind", "theirs", "options"),
    [
        ("linear", "linear", {}),
        ("cosine", "cosine", {}),
        ("wsd", "warmup_stable_decay", {"num_decay_steps": 6, "decay_type": "linear"}),
    ],
)
def test_after_warmup_they_are_those_of_transformers(kind: str, theirs: str, options: dict[str, object]) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = get_scheduler(theirs, optimizer, 3, 20, scheduler_specific_kwargs=options)
    expected = []
    for _ in range(20):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    # theirs takes the first step at rate 0
    assert factors(20, 3, kind, 0.3)[3:] == pytest.approx(expected[3:])
